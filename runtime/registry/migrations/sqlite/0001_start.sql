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
    sealed BLOB NOT NULL,
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
    sealed BLOB NOT NULL,
    change BIGINT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (tenant, backend, space, key),
    FOREIGN KEY (tenant, backend) REFERENCES backends (tenant, id) ON DELETE CASCADE
);

-- The value that tells whether the key is the one that everything here was sealed with.
CREATE TABLE key_check (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    sealed BLOB NOT NULL
);
