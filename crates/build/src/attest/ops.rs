//! Vertices in the shape of BuildKit's operations: the names that readers of its provenance know.
//!
//! No value of a secret is in a vertex, so none is here.

use cairn_attest::provenance::base64;
use cairn_oci::Platform;
use serde_json::{Map, Value, json};

use crate::graph::{CopyOp, ExecNetwork, ExecOp, MakeDirOp};
use crate::mount::{CacheSharing, MountKind, MountRequest};

/// No input: the mount or the action begins with nothing.
pub(super) const NO_INPUT: i64 = -1;

/// A source: an image, a context, a repository, a file of the web.
pub(super) fn source(identifier: &str, platform: &Platform) -> Value {
    op("source", json!({ "identifier": identifier }), platform)
}

/// `RUN`; `inputs` are those of its mounts, in their order.
pub(super) fn exec(exec: &ExecOp, base: i64, inputs: &[i64], platform: &Platform) -> Value {
    let env: Vec<String> = exec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut meta = json!({ "args": exec.argv, "env": env, "cwd": exec.cwd });
    if !exec.user.is_empty() {
        meta["user"] = exec.user.as_str().into();
    }
    if let Some(hostname) = &exec.hostname {
        meta["hostname"] = hostname.as_str().into();
    }
    let mut mounts = vec![json!({ "input": base, "dest": "/", "output": 0 })];
    let own = exec.mounts.iter().zip(inputs);
    mounts.extend(own.filter_map(|(request, input)| mount(request, *input)));
    let mut value = json!({ "meta": meta, "mounts": mounts });
    if exec.network == ExecNetwork::None {
        value["network"] = 2.into();
    }
    if exec.insecure {
        value["security"] = 1.into();
    }
    let secrets: Vec<Value> = exec.mounts.iter().filter_map(secret_variable).collect();
    if !secrets.is_empty() {
        value["secretenv"] = secrets.into();
    }
    let devices = exec.devices.devices.iter();
    let devices: Vec<Value> = devices.map(|(name, _)| json!({ "name": name })).collect();
    if !devices.is_empty() {
        value["cdiDevices"] = devices.into();
    }
    op("exec", value, platform)
}

/// `COPY` or `ADD`: an action for each source; `inputs` are those of files, then of downloads,
/// then of repositories.
pub(super) fn copy(copy: &CopyOp, base: i64, inputs: &CopyInputs, platform: &Platform) -> Value {
    let mut actions = Vec::new();
    for path in &copy.paths {
        actions.push((inputs.files, copied(copy, path)));
    }
    for input in &inputs.remote {
        actions.push((*input, copied(copy, "/")));
    }
    for (source, input) in copy.repositories.iter().zip(&inputs.repositories) {
        let subdir = source.address.subdir.as_deref().unwrap_or("/");
        actions.push((*input, copied(copy, subdir)));
    }
    for (name, text) in &copy.inline {
        let path = match copy.dest.ends_with('/') {
            true => format!("{}{name}", copy.dest),
            false => copy.dest.clone(),
        };
        let made = json!({ "mkfile": { "path": path, "mode": 0o644, "data": base64(text) } });
        actions.push((NO_INPUT, made));
    }
    let count = actions.len();
    let actions: Vec<Value> = actions
        .into_iter()
        .enumerate()
        .map(|(number, (input, action))| {
            json!({
                "input": if number == 0 { base } else { index(count, number - 1) },
                "secondaryInput": input,
                "output": if number + 1 == count { 0 } else { NO_INPUT },
                "Action": action,
            })
        })
        .collect();
    op("file", json!({ "actions": actions }), platform)
}

/// What the actions of a `COPY` take from.
#[derive(Debug, Default)]
pub(super) struct CopyInputs {
    /// The source of its paths.
    pub(super) files: i64,
    /// Those of its downloads.
    pub(super) remote: Vec<i64>,
    /// Those of its repositories.
    pub(super) repositories: Vec<i64>,
}

/// `WORKDIR`.
pub(super) fn make_dir(dir: &MakeDirOp, base: i64, platform: &Platform) -> Value {
    let action = json!({
        "input": base,
        "secondaryInput": NO_INPUT,
        "output": 0,
        "Action": { "mkdir": { "path": dir.path, "mode": 0o755, "makeParents": true } },
    });
    op("file", json!({ "actions": [action] }), platform)
}

/// What `COPY --link` leaves, on what was there.
pub(super) fn merge(platform: &Platform) -> Value {
    let inputs = json!([{ "input": 0 }, { "input": 1 }]);
    op("merge", json!({ "inputs": inputs }), platform)
}

fn op(kind: &str, value: Value, platform: &Platform) -> Value {
    let mut told = json!({ "Architecture": platform.architecture, "OS": platform.os });
    if let Some(variant) = &platform.variant {
        told["Variant"] = variant.as_str().into();
    }
    let mut inner = Map::new();
    inner.insert(kind.to_owned(), value);
    json!({ "Op": inner, "platform": told })
}

/// What an action leaves that another one goes on with: numbers behind those of the inputs.
fn index(actions: usize, action: usize) -> i64 {
    i64::try_from(actions + action).unwrap_or(i64::MAX)
}

fn copied(copy: &CopyOp, path: &str) -> Value {
    let mut value = json!({
        "src": path,
        "dest": copy.dest,
        "mode": NO_INPUT,
        "followSymlink": true,
        "dirCopyContents": true,
        "createDestPath": true,
        "allowWildcard": true,
        "allowEmptyWildcard": true,
        "timestamp": NO_INPUT,
    });
    if copy.unpack {
        value["attemptUnpackDockerCompatibility"] = true.into();
    }
    if let Some(mode) = &copy.chmod {
        value["modeStr"] = mode.as_str().into();
    }
    if !copy.exclude.is_empty() {
        value["excludePatterns"] = json!(copy.exclude);
    }
    json!({ "copy": value })
}

fn mount(request: &MountRequest, input: i64) -> Option<Value> {
    let mut value = json!({ "input": input, "dest": request.target, "output": NO_INPUT });
    match &request.kind {
        MountKind::Bind { path, writable, .. } => {
            value["selector"] = path.as_str().into();
            value["readonly"] = (!writable).into();
        }
        MountKind::Cache {
            name,
            sharing,
            read_only,
            ..
        } => {
            let sharing = match sharing {
                CacheSharing::Shared => 0,
                CacheSharing::Private => 1,
                CacheSharing::Locked => 2,
            };
            value["mountType"] = 3.into();
            value["readonly"] = (*read_only).into();
            value["cacheOpt"] = json!({ "ID": name, "sharing": sharing });
        }
        MountKind::Tmpfs { size } => {
            value["mountType"] = 4.into();
            value["TmpfsOpt"] = json!({ "size": size.unwrap_or(0) });
        }
        MountKind::Secret {
            name,
            required,
            file: true,
            mode,
            uid,
            gid,
            ..
        } => {
            value["mountType"] = 1.into();
            value["secretOpt"] =
                json!({ "ID": name, "uid": uid, "gid": gid, "mode": mode, "optional": !required });
        }
        MountKind::Ssh {
            name,
            required,
            mode,
            uid,
            gid,
        } => {
            value["mountType"] = 2.into();
            value["SSHOpt"] =
                json!({ "ID": name, "uid": uid, "gid": gid, "mode": mode, "optional": !required });
        }
        // Its text stands in the Dockerfile.
        MountKind::Secret { .. } | MountKind::Script { .. } => return None,
    }
    Some(value)
}

fn secret_variable(request: &MountRequest) -> Option<Value> {
    match &request.kind {
        MountKind::Secret {
            name,
            required,
            env: Some(env),
            ..
        } => Some(json!({ "ID": name, "name": env, "optional": !required })),
        _ => None,
    }
}
