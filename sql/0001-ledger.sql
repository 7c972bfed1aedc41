-- The ledger: one row a job, one row an attempt, its output, who is alive; and the original's table of results.
-- States and who moves them are drawn in docs/ARCHITECTURE.md; every transition is one statement.

-- The original system's table, for whoever reads it with psql: final statuses only.
CREATE TABLE resultados (
    usuario varchar(500) NOT NULL,
    key varchar(500) NOT NULL,
    status varchar(20) NOT NULL,
    PRIMARY KEY (usuario, key)
);
CREATE INDEX resultados_key ON resultados (key);

CREATE TABLE trabajos (
    key uuid PRIMARY KEY,
    owner text NOT NULL,
    usuario text NOT NULL,
    url text NOT NULL,
    spec jsonb NOT NULL DEFAULT '{}',
    fingerprint text NOT NULL,
    ref text,
    priority smallint NOT NULL DEFAULT 0,
    timeout_s integer,
    retries integer NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'Queued'
    CHECK (status IN ('Queued', 'Running', 'Finished', 'Failed', 'Cancelled')),
    -- the fence: it only grows over a key's life
    attempt integer NOT NULL DEFAULT 0,
    platform_failures integer NOT NULL DEFAULT 0,
    user_failures integer NOT NULL DEFAULT 0,
    posted_at timestamptz NOT NULL,
    eligible_at timestamptz NOT NULL,
    claimed_at timestamptz,
    finished_at timestamptz,
    worker text,
    lease_until timestamptz,
    cancel_requested_at timestamptz,
    commit_id text,
    execution_ms bigint,
    outcome jsonb,
    -- whether Kafka has acknowledged the record of this visible result
    published boolean NOT NULL DEFAULT false,
    -- when a sweeper may take it (again); NULL: a while after finished_at
    publish_after timestamptz
);

CREATE INDEX trabajos_queued ON trabajos (owner, priority DESC, eligible_at, key) WHERE status = 'Queued';
CREATE INDEX trabajos_queued_age ON trabajos (eligible_at) WHERE status = 'Queued';
CREATE INDEX trabajos_running ON trabajos (lease_until, owner) WHERE status = 'Running';
CREATE INDEX trabajos_unpublished ON trabajos (coalesce(publish_after, finished_at))
WHERE NOT published AND status IN ('Finished', 'Failed', 'Cancelled');
CREATE INDEX trabajos_finished ON trabajos (finished_at) WHERE status IN ('Finished', 'Failed', 'Cancelled');
CREATE INDEX trabajos_owner ON trabajos (owner, posted_at, key);
CREATE INDEX trabajos_usuario ON trabajos (usuario, posted_at, key);
CREATE INDEX trabajos_posted ON trabajos (posted_at, key);

CREATE TABLE attempts (
    key uuid NOT NULL REFERENCES trabajos ON DELETE CASCADE,
    attempt integer NOT NULL,
    worker text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    outcome jsonb,
    -- plan, commit, times in microseconds, isolation level, limits, peak memory, counted output
    detail jsonb,
    PRIMARY KEY (key, attempt)
);

CREATE TABLE logs (
    key uuid NOT NULL REFERENCES trabajos ON DELETE CASCADE,
    attempt integer NOT NULL,
    seq integer NOT NULL,
    -- 1 standard output, 2 standard error
    stream smallint NOT NULL CHECK (stream IN (1, 2)),
    at timestamptz NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (key, attempt, seq)
);

CREATE TABLE workers (
    worker text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    slots integer NOT NULL,
    isolation text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    running integer NOT NULL DEFAULT 0,
    draining boolean NOT NULL DEFAULT false
);
