BEGIN TRANSACTION;
CREATE TABLE "experiments" (
	experiment_id INTEGER NOT NULL, 
	name VARCHAR(256) NOT NULL, 
	artifact_location VARCHAR(256), 
	lifecycle_stage VARCHAR(32), 
	creation_time BIGINT, 
	last_update_time BIGINT, 
	workspace VARCHAR(63) DEFAULT 'default' NOT NULL, 
	CONSTRAINT experiment_pk PRIMARY KEY (experiment_id), 
	CONSTRAINT experiments_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT uq_experiments_workspace_name UNIQUE (workspace, name)
);
INSERT INTO "experiments" VALUES(0,'Default','/logs/mlruns/0','active',1796102716137,1796102716137,'default');
INSERT INTO "experiments" VALUES(1,'cifar','/logs/mlruns/1','active',1796102716344,1796102716344,'default');
CREATE TABLE "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "metrics" VALUES('train/loss',1.0,1796102719113,'4c7ac821e52246b493ca743ae2c0c6d9',0,0);
INSERT INTO "metrics" VALUES('val/acc',0.0,1796102719113,'4c7ac821e52246b493ca743ae2c0c6d9',0,0);
INSERT INTO "metrics" VALUES('train/loss',0.5,1796102719444,'4c7ac821e52246b493ca743ae2c0c6d9',1,0);
INSERT INTO "metrics" VALUES('val/acc',0.125,1796102719444,'4c7ac821e52246b493ca743ae2c0c6d9',1,0);
INSERT INTO "metrics" VALUES('train/loss',3.33333333333333314e-01,1796102719736,'4c7ac821e52246b493ca743ae2c0c6d9',2,0);
INSERT INTO "metrics" VALUES('val/acc',0.25,1796102719736,'4c7ac821e52246b493ca743ae2c0c6d9',2,0);
INSERT INTO "metrics" VALUES('train/loss',0.25,1796102719935,'4c7ac821e52246b493ca743ae2c0c6d9',3,0);
INSERT INTO "metrics" VALUES('val/acc',0.375,1796102719935,'4c7ac821e52246b493ca743ae2c0c6d9',3,0);
INSERT INTO "metrics" VALUES('train/loss',0.2,1796102720102,'4c7ac821e52246b493ca743ae2c0c6d9',4,0);
INSERT INTO "metrics" VALUES('val/acc',0.5,1796102720102,'4c7ac821e52246b493ca743ae2c0c6d9',4,0);
INSERT INTO "metrics" VALUES('train/loss',1.66666666666666657e-01,1796102720268,'4c7ac821e52246b493ca743ae2c0c6d9',5,0);
INSERT INTO "metrics" VALUES('val/acc',0.625,1796102720268,'4c7ac821e52246b493ca743ae2c0c6d9',5,0);
INSERT INTO "metrics" VALUES('train/loss',1.42857142857142849e-01,1796102720434,'4c7ac821e52246b493ca743ae2c0c6d9',6,0);
INSERT INTO "metrics" VALUES('val/acc',0.75,1796102720434,'4c7ac821e52246b493ca743ae2c0c6d9',6,0);
INSERT INTO "metrics" VALUES('train/loss',0.125,1796102720636,'4c7ac821e52246b493ca743ae2c0c6d9',7,0);
INSERT INTO "metrics" VALUES('val/acc',0.875,1796102720636,'4c7ac821e52246b493ca743ae2c0c6d9',7,0);
INSERT INTO "metrics" VALUES('bad',0.0,1796102720848,'4c7ac821e52246b493ca743ae2c0c6d9',8,1);
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('lr','0.001','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "params" VALUES('width','8','4c7ac821e52246b493ca743ae2c0c6d9');
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('4c7ac821e52246b493ca743ae2c0c6d9','baseline','UNKNOWN','','','user','FINISHED',1796102718086,1796102721170,'','active','/logs/mlruns/1/4c7ac821e52246b493ca743ae2c0c6d9/artifacts',1,NULL);
CREATE TABLE "tags" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000), 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT tag_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "tags" VALUES('mlflow.user','user','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "tags" VALUES('mlflow.source.name','tests/core/tracking/foreign/make_peers.py','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "tags" VALUES('mlflow.source.type','LOCAL','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "tags" VALUES('mlflow.source.git.commit','ce61c16aabf0697b322d611d74ba0d5e9e916fc3','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "tags" VALUES('mlflow.source.git.branch','foreign','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "tags" VALUES('mlflow.runName','baseline','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "tags" VALUES('team','vision','4c7ac821e52246b493ca743ae2c0c6d9');
INSERT INTO "tags" VALUES('seen','','4c7ac821e52246b493ca743ae2c0c6d9');
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
CREATE INDEX index_params_run_uuid ON params (run_uuid);
CREATE INDEX index_tags_run_uuid ON tags (run_uuid);
CREATE INDEX idx_experiments_workspace ON experiments (workspace);
CREATE INDEX idx_experiments_workspace_creation_time ON experiments (workspace, creation_time);
CREATE INDEX index_metrics_run_uuid_key_step ON metrics (run_uuid, "key", step);
COMMIT;
