#!/bin/bash
# Run once, when the volume is empty: the daemons' role. It owns the database, to bring its schema up to date, and is no
# superuser.
set -euo pipefail

psql -v ON_ERROR_STOP=1 -v password="$(cat /run/secrets/trabajos_password)" --username postgres --dbname results_db <<'SQL'
CREATE ROLE trabajos LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
ALTER DATABASE results_db OWNER TO trabajos;
REVOKE CONNECT ON DATABASE results_db FROM PUBLIC;
SQL
