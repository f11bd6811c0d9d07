CREATE TABLE tenants (
    name TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (name),
    hash TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX tokens_of_tenant ON tokens (tenant);

CREATE TABLE backends (
    tenant TEXT NOT NULL REFERENCES tenants (name),
    id TEXT NOT NULL UNIQUE,
    provider TEXT NOT NULL,
    name TEXT,
    settings TEXT NOT NULL,
    account TEXT,
    connected BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used BIGINT,
    generation BIGINT NOT NULL,
    credential_generation BIGINT NOT NULL,
    changes BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, name)
);

CREATE TABLE backend_secrets (
    tenant TEXT NOT NULL,
    backend TEXT NOT NULL,
    field TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (tenant, backend, field),
    FOREIGN KEY (tenant, backend) REFERENCES backends (tenant, id) ON DELETE CASCADE
);

CREATE TABLE mounts (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL UNIQUE,
    backend TEXT NOT NULL,
    label TEXT,
    path TEXT NOT NULL,
    config TEXT NOT NULL,
    removing BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, path),
    FOREIGN KEY (tenant, backend) REFERENCES backends (tenant, id)
);
CREATE INDEX mounts_of_backend ON mounts (tenant, backend);

-- What a component keeps; `space` tells readable values from slots that hold secrets.
CREATE TABLE backend_state (
    tenant TEXT NOT NULL,
    backend TEXT NOT NULL,
    space TEXT NOT NULL,
    key TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    change BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (tenant, backend, space, key),
    FOREIGN KEY (tenant, backend) REFERENCES backends (tenant, id) ON DELETE CASCADE
);

-- The value that tells whether the key is the one that everything here was sealed with.
CREATE TABLE key_check (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    sealed BYTEA NOT NULL
);

-- Tenants are kept apart by the database itself, too: requests run as a role that owns no table, and sees the rows of the
-- tenant that its transaction names. The owner of the tables is the operator.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'causeway_tenant') THEN
        CREATE ROLE causeway_tenant NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'causeway_tenant', 'MEMBER') THEN
        GRANT causeway_tenant TO CURRENT_USER;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO causeway_tenant', current_schema());
END
$$;

GRANT SELECT ON tenants TO causeway_tenant;
GRANT SELECT, INSERT, UPDATE ON tokens TO causeway_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON backends, backend_secrets, mounts, backend_state TO causeway_tenant;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON tenants TO causeway_tenant USING (name = current_setting('causeway.tenant', true));
CREATE POLICY operator ON tenants TO CURRENT_USER USING (true) WITH CHECK (true);

ALTER TABLE tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON tokens TO causeway_tenant USING (tenant = current_setting('causeway.tenant', true));
-- Whoever shows a token may learn whose it is, and nothing else.
CREATE POLICY shown ON tokens FOR SELECT TO causeway_tenant USING (hash = current_setting('causeway.token', true));

ALTER TABLE backends ENABLE ROW LEVEL SECURITY;
ALTER TABLE backends FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON backends TO causeway_tenant USING (tenant = current_setting('causeway.tenant', true));

ALTER TABLE backend_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE backend_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON backend_secrets TO causeway_tenant USING (tenant = current_setting('causeway.tenant', true));

ALTER TABLE mounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE mounts FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON mounts TO causeway_tenant USING (tenant = current_setting('causeway.tenant', true));

ALTER TABLE backend_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE backend_state FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON backend_state TO causeway_tenant USING (tenant = current_setting('causeway.tenant', true));
