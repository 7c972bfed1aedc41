-- What each daemon's own role may do, where there are such roles: trabajos_frontend, trabajos_worker, trabajos_observer (the compose
-- project makes them). None may change the schema, empty a table or write what only the others write. `trabajos migrate` applies
-- it after the migrations, as the tables' owner; by hand: psql -d results_db -f sql/grants.sql. May be run again.
--
-- A new table has no rights until it stands here.
DO $do$
DECLARE
    given record;
BEGIN
    FOR given IN SELECT * FROM (VALUES
        -- a job and where it stands: submitted, cancelled and replayed by the one; claimed, ended, reaped and removed by the others
        ('trabajos', 'SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        ('queue', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        ('lanes', 'SELECT, INSERT', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE'),
        ('delayed', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE'),
        ('concurrency', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        ('concurrency_floor', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        ('resultados', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        ('outbox', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        ('dead_letters', 'SELECT, DELETE', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE'),
        -- noted by triggers of trabajos, for lists
        ('unsuccessful', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE'),
        -- what a run leaves: written by workers; the observer's housekeeping ends the lost ones and removes the old ones
        ('attempts', 'SELECT', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, UPDATE, DELETE'),
        ('logs', 'SELECT', 'SELECT, INSERT, DELETE', 'SELECT, DELETE'),
        ('workers', 'SELECT, UPDATE (draining)', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, UPDATE, DELETE'),
        -- earlier results to take; removed with their jobs
        ('reusable', NULL, 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, DELETE'),
        -- what jobs leave: a replay, through the frontend, takes it back; housekeeping removes it
        ('artifacts', 'SELECT, DELETE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, UPDATE, DELETE'),
        ('blobs', 'SELECT, UPDATE', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, UPDATE, DELETE'),
        ('blob_chunks', 'SELECT', 'SELECT, INSERT, DELETE', 'SELECT, DELETE'),
        ('blobs_doomed', NULL, 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        -- what is told to whom when a job ends: noted by whoever ends it, the frontend's cancel included
        ('webhooks', 'SELECT, INSERT', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE, DELETE'),
        ('webhook_tries', 'SELECT', 'SELECT, INSERT, DELETE', 'SELECT, INSERT, DELETE'),
        -- what the observer decided, did and foretold; shown by the frontend
        ('scale_decisions', 'SELECT', NULL, 'SELECT, INSERT, UPDATE, DELETE'),
        ('scale_actions', 'SELECT', NULL, 'SELECT, INSERT, DELETE'),
        ('scale_forecast', 'SELECT', NULL, 'SELECT, INSERT, UPDATE, DELETE'),
        ('predictions', 'SELECT', NULL, 'SELECT, INSERT, UPDATE, DELETE'),
        -- told by the frontend, scored by the observer
        ('ranges_told', 'SELECT, INSERT, UPDATE', NULL, 'SELECT, INSERT, UPDATE, DELETE'),
        ('prediction_errors', 'SELECT', NULL, 'SELECT, INSERT, UPDATE, DELETE'),
        -- made by users through the frontend, fired by the others
        ('schedules', 'SELECT, INSERT, UPDATE, DELETE', 'SELECT, UPDATE', 'SELECT, UPDATE'),
        ('migraciones', 'SELECT', 'SELECT', 'SELECT')
    ) AS rights (name, frontend, worker, observer)
    CROSS JOIN LATERAL (VALUES
        ('trabajos_frontend', rights.frontend), ('trabajos_worker', rights.worker), ('trabajos_observer', rights.observer)
    ) AS role_rights (role_name, role_may)
    WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = role_rights.role_name)
    LOOP
        EXECUTE format('REVOKE ALL ON %I FROM %I', given.name, given.role_name);
        IF given.role_may IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %I TO %I', given.role_may, given.name, given.role_name);
        END IF;
    END LOOP;
END
$do$;
