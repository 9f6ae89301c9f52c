CREATE TABLE schema_version (version integer NOT NULL);
INSERT INTO schema_version VALUES (1);

-- Each in a row of its own, so that writers of one do not wait for those of another.
CREATE TABLE counters (
    name text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO counters VALUES ('version', 0), ('records', 0), ('forgotten', 0), ('generation', 0);

CREATE TABLE store_key (value uuid NOT NULL);
INSERT INTO store_key VALUES (gen_random_uuid());

-- One row. A change of `epoch`, the key, waits for those who hold the row FOR KEY SHARE; renewals
-- do not.
CREATE TABLE lease (
    epoch bigint PRIMARY KEY,
    holder text,
    expires_at timestamptz NOT NULL,
    kept_up text NOT NULL
);
INSERT INTO lease VALUES (0, NULL, '-infinity', '[]');

-- Times are in seconds since the epoch. Rows stay when a source is no longer configured, without
-- fingerprint, sequence and table.
CREATE TABLE sources (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    fingerprint bytea,
    revision bigint NOT NULL DEFAULT 0,
    fetched_at double precision,
    report text,
    sequence bytea,
    identity_table bytea,
    -- The greatest number after the first write of its records.
    first_through bigint
);
-- It is compressed already.
ALTER TABLE sources ALTER COLUMN sequence SET STORAGE EXTERNAL;

CREATE TABLE upstream_limits (
    name text PRIMARY KEY,
    value bigint NOT NULL
);

-- A record is current while `last_seen` is null. Codes of `priority`: low 0 to critical 3.
CREATE TABLE records (
    version bigint PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    id uuid NOT NULL UNIQUE,
    "timestamp" double precision,
    first_seen double precision NOT NULL,
    last_seen double precision,
    source integer NOT NULL REFERENCES sources,
    priority smallint,
    reason smallint,
    employee_id text COLLATE "C",
    bytes bytea NOT NULL,
    -- The first one, if it has another one now.
    first_number bigint
);

-- The order of the history, backwards: records without a time come last. `number` makes it total.
CREATE INDEX records_by_employee ON records
    (employee_id, coalesce("timestamp", '-Infinity'), number);
-- Not `IS NULL` as below: where a source is asked for, this index must not serve, however few
-- records the source has.
CREATE INDEX records_by_time ON records
    ((last_seen IS NOT NULL), coalesce("timestamp", '-Infinity'), number, priority);
CREATE INDEX records_by_source ON records
    (source, (last_seen IS NULL), coalesce("timestamp", '-Infinity'), number, priority);
CREATE INDEX records_by_last_seen ON records (last_seen) WHERE last_seen IS NOT NULL;

CREATE TABLE forwards (
    name text COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL,
    start bigint,
    sent bigint NOT NULL DEFAULT 0,
    dead_letters bigint NOT NULL DEFAULT 0,
    is_retrying boolean NOT NULL DEFAULT false,
    last_error text
);

CREATE TABLE dead_letters (
    forward text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    id uuid NOT NULL,
    refused_at double precision NOT NULL,
    source text COLLATE "C" NOT NULL,
    employee_id text COLLATE "C",
    status integer NOT NULL,
    answer text NOT NULL,
    PRIMARY KEY (forward, number)
);
CREATE INDEX dead_letters_by_id ON dead_letters (id);
CREATE INDEX dead_letters_by_time ON dead_letters (refused_at);
CREATE INDEX dead_letters_by_employee ON dead_letters (employee_id) WHERE employee_id IS NOT NULL;
