-- Who may come in, and what they did.

-- Of the tokens only SHA-256 digests, in hex; document: stores/access_codec.py. Rows stay when a token is revoked.
CREATE TABLE access_token (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    previous_digest TEXT,
    last_used_at INTEGER,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX access_token_previous ON access_token (previous_digest) WHERE previous_digest IS NOT NULL;

CREATE TABLE login_session (
    session_id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a number is never used again, so that a gap at the beginning is what was pruned and nothing else.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    verb TEXT NOT NULL,
    target_type TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_target ON audit (target_type, target);
