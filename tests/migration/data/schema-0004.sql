-- A small store as schema 4 left it: written by the program of that time, never changed since.
PRAGMA application_id = 1400328054;
PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE access_token (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    previous_digest TEXT,
    last_used_at INTEGER,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "access_token" VALUES('ci',1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',NULL,'{"scopes":["approver","operator"],"tenants":["acme-*","bolt"],"createdAt":1772368245678901,"createdBy":"dana@host","expiresAt":1772454645678908,"rotatedAt":1772368245678901,"previousUntil":1772454645678908,"revokedAt":null}');
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
INSERT INTO "audit" VALUES(1,1772454645678908,'grün 🟢','rollback','PLAN','100','refused','{"kind":"person","origin":"2001:db8::1","via":"api","code":"ILLEGAL_STATE","message":"says \"no\"\nand no more","reason":"CHG-1 ''quoted'' \\ back","details":{"accepted":0,"refused":["100-1"],"nested":{"none":null}}}');
INSERT INTO "audit" VALUES(2,1772454645678908,'grün 🟢','rollback','PLAN','100','refused','{"kind":"person","origin":"2001:db8::1","via":"api","code":"ILLEGAL_STATE","message":"says \"no\"\nand no more","reason":"CHG-1 ''quoted'' \\ back","details":{"accepted":0,"refused":["100-1"],"nested":{"none":null}}}');
CREATE TABLE driver (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;
INSERT INTO "driver" VALUES(1,1,'release',1772368245678901);
CREATE TABLE event (
    plan_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    sequence_id INTEGER NOT NULL,
    type INTEGER NOT NULL,
    at INTEGER NOT NULL,
    status ANY NOT NULL,
    stage ANY,
    completed INTEGER NOT NULL,
    total INTEGER NOT NULL,
    failure TEXT,
    data ANY,
    PRIMARY KEY (plan_id, position)
) STRICT, WITHOUT ROWID;
INSERT INTO "event" VALUES(1,1,1,1,11,1772368245678902,4,NULL,0,2,NULL,NULL);
INSERT INTO "event" VALUES(1,2,1,2,12,1772368245678903,4,NULL,0,2,NULL,NULL);
INSERT INTO "event" VALUES(1,3,2,1,11,1772368245678904,4,NULL,0,2,NULL,NULL);
INSERT INTO "event" VALUES(1,4,2,2,12,1772368245678905,4,NULL,0,2,NULL,NULL);
INSERT INTO "event" VALUES(1,5,0,1,1,1772368245678906,3,NULL,0,2,NULL,NULL);
INSERT INTO "event" VALUES(1,6,1,3,13,1772368245678907,4,NULL,0,2,NULL,NULL);
INSERT INTO "event" VALUES(1,7,1,4,19,1772368245678908,5,0,0,2,NULL,0);
INSERT INTO "event" VALUES(1,8,1,5,21,1772368245678909,5,0,0,2,'{"errorCode":"HEALTH_CHECK_FAILED","errorType":"TIMEOUT_ERROR","message":"expected 2, got ''ünknown''\nand no more","failedAt":{"stage":"media","step":"health"},"retryable":true,"timestamp":"2026-03-01T12:30:45.678901Z"}','{"stage":"routing","attempts":10}');
CREATE TABLE event_run (
    number INTEGER PRIMARY KEY,
    plan_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    length INTEGER NOT NULL
) STRICT;
INSERT INTO "event_run" VALUES(8,1,8,8);
CREATE TABLE idempotency (
    idempotency_key TEXT PRIMARY KEY,
    plan_id INTEGER NOT NULL,
    content_digest TEXT NOT NULL
, findings BLOB NOT NULL DEFAULT x'5B5D') STRICT, WITHOUT ROWID;
INSERT INTO "idempotency" VALUES('key',1,'digest',X'5B7B2274656E616E744964223A22626F6C74222C226669656C64223A22222C22636F6465223A224E4F5F50524556494F55535F434F4E464947222C226D657373616765223A226E6F7468696E6720746F20676F206261636B20746F222C227365766572697479223A227761726E696E67222C22696E646578223A317D5D');
CREATE TABLE last_known_good (
    tenant_id TEXT PRIMARY KEY,
    config TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "last_known_good" VALUES('acme','{"tenantId":"acme","deployUnitId":9007199254740993,"deployUnitVersion":0,"deployUnitName":"grün \"and\" \\ back\u0000slash 🟢","networkEndpoints":[{"key":"k","value":"v","sourceIp":"10.0.0.1","sourceDomain":"a.example","targetIp":"::1","targetDomain":"b.example"},{}],"nacosNameSpace":"","defaultFlag":false,"calledNumberRules":"^\\d+$","trunkGroup":"trunk","planId":7,"planVersion":3,"sourceTenantDeployConfig":{"tenantId":"acme","deployUnitId":17,"deployUnitVersion":1,"deployUnitName":"blue","networkEndpoints":[{"key":"main","value":"http://127.0.0.1:8080"}]}}');
CREATE TABLE lock_queue (
    tenant_id TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, arrival, plan_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE login_session (
    session_id TEXT PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "login_session" VALUES('5e55','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',1772368245678901,1772454645678908,'{"name":"dana","kind":"person","scopes":["viewer"],"tenants":["acme"],"tokenName":"ci","origin":"10.0.0.1","createdAt":1772368245678901}');
CREATE TABLE plan (
    plan_id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    status INTEGER NOT NULL,
    counts TEXT NOT NULL,
    unsettled INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    touched INTEGER NOT NULL,
    sequence_id INTEGER NOT NULL,
    position INTEGER NOT NULL,
    run INTEGER NOT NULL,
    started_tasks INTEGER NOT NULL,
    pending_operation INTEGER,
    cancelled INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    failure TEXT
) STRICT;
INSERT INTO "plan" VALUES(1,3,3,'[0,0,0,1,0,0,0,0,1]',1,0,0,1,8,0,0,NULL,0,1772368245678901,NULL,NULL,NULL);
CREATE TABLE plan_definition (
    plan_id INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,
    last_arrival INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    plan_version INTEGER,
    name TEXT,
    labels TEXT NOT NULL,
    rules TEXT NOT NULL
) STRICT;
INSERT INTO "plan_definition" VALUES(1,2,2,1772368245678901,NULL,NULL,'{}','{"maxConcurrency":10,"onConflict":"reject","onFailure":"manual","holdAfterRollback":false,"maxRetry":3,"health":{"intervalSeconds":3.0,"attempts":10,"timeoutSeconds":2.0,"path":"/health","versionKey":"version","expect":"{deployUnitVersion}","consecutive":1},"services":[]}');
CREATE TABLE pre_image (
    pre_image_id INTEGER PRIMARY KEY,
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    stage TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB,
    UNIQUE (plan_id, ordinal, stage, key)
) STRICT;
INSERT INTO "pre_image" VALUES(1,1,1,'routing','k',X'6265666F7265');
CREATE TABLE pruned_plan (
    plan_id INTEGER PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT;
CREATE TABLE request (
    request_id INTEGER PRIMARY KEY AUTOINCREMENT,
    verb TEXT NOT NULL,
    payload BLOB NOT NULL,
    submitted_at INTEGER NOT NULL,
    answer BLOB
) STRICT;
INSERT INTO "request" VALUES(1,'pause',X'7B2274656E616E74223A2022626F6C74227D',1772368245678901,NULL);
CREATE TABLE stage_list (
    stage_list_id INTEGER PRIMARY KEY,
    names TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO "stage_list" VALUES(1,'["routing","media"]');
CREATE TABLE stop_line (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;
INSERT INTO "stop_line" VALUES(1,'stop',1772368245678901);
CREATE TABLE task (
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    version INTEGER NOT NULL,
    tenant_id TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    stage_list_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    status INTEGER NOT NULL,
    marks TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    sequence_id INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    retry_count INTEGER NOT NULL,
    pending_operation INTEGER,
    flags INTEGER NOT NULL,
    started_order INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    failure TEXT, not_before INTEGER,
    PRIMARY KEY (plan_id, ordinal)
) STRICT, WITHOUT ROWID;
INSERT INTO "task" VALUES(1,1,3,'acme',1,1,1772368245678901,9,'10',1772368245678901,5,1,0,NULL,1,1,1772368245678901,1772368245678901,'{"errorCode":"HEALTH_CHECK_FAILED","errorType":"TIMEOUT_ERROR","message":"expected 2, got ''ünknown''\nand no more","failedAt":{"stage":"media","step":"health"},"retryable":true,"timestamp":"2026-03-01T12:30:45.678901Z"}',NULL);
INSERT INTO "task" VALUES(1,2,1,'bolt',2,1,1772368245678901,4,'00',1772368245678901,2,0,0,NULL,1,0,NULL,NULL,NULL,NULL);
CREATE TABLE task_config (
    plan_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    config TEXT NOT NULL,
    previous TEXT,
    PRIMARY KEY (plan_id, ordinal)
) STRICT, WITHOUT ROWID;
INSERT INTO "task_config" VALUES(1,1,'{"tenantId":"acme","deployUnitId":17,"deployUnitVersion":2,"deployUnitName":"blue","networkEndpoints":[{"key":"main","value":"http://127.0.0.1:8080"}]}','{"tenantId":"acme","deployUnitId":17,"deployUnitVersion":1,"deployUnitName":"blue","networkEndpoints":[{"key":"main","value":"http://127.0.0.1:8080"}]}');
INSERT INTO "task_config" VALUES(1,2,'{"tenantId":"bolt","deployUnitId":17,"deployUnitVersion":2,"deployUnitName":"blue","networkEndpoints":[{"key":"main","value":"http://127.0.0.1:8080"}]}',NULL);
CREATE TABLE tenant (
    tenant_id TEXT PRIMARY KEY,
    generation INTEGER NOT NULL,
    owner_plan INTEGER,
    owner_ordinal INTEGER,
    started_plan INTEGER,
    started_ordinal INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO "tenant" VALUES('acme',1,NULL,NULL,1,1);
INSERT INTO "tenant" VALUES('bolt',0,1,2,NULL,NULL);
CREATE TABLE tenant_hold (
    tenant_id TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "tenant_hold" VALUES('bolt','why',1772368245678901);
CREATE INDEX plan_unsettled ON plan (plan_id) WHERE unsettled > 0;
CREATE INDEX task_by_tenant ON task (tenant_id, arrival);
CREATE UNIQUE INDEX event_by_sequence ON event (plan_id, ordinal, sequence_id);
CREATE INDEX request_open ON request (request_id) WHERE answer IS NULL;
CREATE INDEX access_token_previous ON access_token (previous_digest) WHERE previous_digest IS NOT NULL;
CREATE INDEX audit_by_target ON audit (target_type, target);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('request',1);
INSERT INTO "sqlite_sequence" VALUES('audit',2);
COMMIT;
