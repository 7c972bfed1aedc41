#!/bin/bash
# Run once, when the volume is empty: a role that owns the database and brings its schema up to date, and one for each daemon, which
# gets the rights that sql/grants.sql lists. None is a superuser.
set -euo pipefail

role() { # NAME
	psql -X -v ON_ERROR_STOP=1 -v name="trabajos_$1" -v password="$(<"/run/secrets/$1_password")" -U postgres -d results_db <<'SQL'
CREATE ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
GRANT CONNECT ON DATABASE results_db TO :"name";
SQL
}

psql -X -v ON_ERROR_STOP=1 -U postgres -d results_db <<'SQL'
REVOKE ALL ON DATABASE results_db FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
SQL
for daemon in owner frontend worker observer; do role "$daemon"; done
psql -X -v ON_ERROR_STOP=1 -U postgres -d results_db -c 'ALTER DATABASE results_db OWNER TO trabajos_owner'
