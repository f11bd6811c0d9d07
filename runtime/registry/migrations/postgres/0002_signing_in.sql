-- Who may do what only one may do at a time. A row stays when its lease ends, so that `fence` never returns.
CREATE TABLE leases (
    tenant TEXT NOT NULL,
    backend TEXT NOT NULL,
    name TEXT NOT NULL,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, backend, name),
    FOREIGN KEY (tenant, backend) REFERENCES backends (tenant, id) ON DELETE CASCADE
);

-- Consents that a person was sent to give: each is taken once.
CREATE TABLE consents (
    tenant TEXT NOT NULL,
    backend TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    verifier BYTEA NOT NULL,
    issuer TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, backend, hash),
    FOREIGN KEY (tenant, backend) REFERENCES backends (tenant, id) ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON leases, consents TO causeway_tenant;

ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE leases FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON leases TO causeway_tenant USING (tenant = current_setting('causeway.tenant', true));

ALTER TABLE consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE consents FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON consents TO causeway_tenant USING (tenant = current_setting('causeway.tenant', true));
