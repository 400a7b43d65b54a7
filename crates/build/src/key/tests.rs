//! Each part of an operation, changed alone: the key follows what a step can see, and nothing else.

use super::*;
use crate::device::Handed;
use crate::graph::{ContextId, Fs, Origin};

fn vertex(op: Op) -> Vertex {
    Vertex {
        op,
        base: Fs::Scratch,
        origin: Origin {
            image: "i".into(),
            stage: "s".into(),
            step: (1, 2),
            title: "RUN x".into(),
            label: None,
        },
    }
}

fn digest(byte: u8) -> ContentDigest {
    ContentDigest::from_bytes([byte; 32])
}

fn taken() -> Taken {
    Taken {
        image: None,
        base: Some(digest(1)),
        files: vec![digest(2)],
        commits: Vec::new(),
        mounts: vec![Some(digest(3)), None, None, None, None],
    }
}

fn mounts() -> Vec<MountRequest> {
    let on = |target: &str, kind| MountRequest {
        target: target.into(),
        kind,
    };
    vec![
        on(
            "/bind",
            MountKind::Bind {
                from: FileSource::Context(ContextId(0)),
                path: "/".into(),
                writable: false,
            },
        ),
        on(
            "/cache",
            MountKind::Cache {
                name: "c".into(),
                from: None,
                sharing: CacheSharing::Shared,
                read_only: false,
                mode: 0o755,
                uid: 0,
                gid: 0,
            },
        ),
        on("/tmp", MountKind::Tmpfs { size: None }),
        on(
            "/secret",
            MountKind::Secret {
                name: "s".into(),
                required: false,
                file: true,
                env: None,
                mode: 0o400,
                uid: 0,
                gid: 0,
            },
        ),
        on(
            "/agent",
            MountKind::Ssh {
                name: "default".into(),
                required: false,
                mode: 0o600,
                uid: 0,
                gid: 0,
            },
        ),
    ]
}

fn exec() -> ExecOp {
    ExecOp {
        argv: vec!["sh".into(), "-c".into(), "x".into()],
        env: vec![("A".into(), "1".into()), ("B".into(), "2".into())],
        architecture: "amd64".into(),
        cwd: "/".into(),
        user: String::new(),
        mounts: mounts(),
        network: ExecNetwork::Host,
        insecure: false,
        ignore_cache: false,
        proxies: Vec::new(),
        surroundings: Vec::new(),
        hostname: None,
        devices: Handed::default(),
    }
}

fn key_of(exec: ExecOp, taken: &Taken) -> CacheKey {
    KeyInputs::of(&vertex(Op::Exec(Box::new(exec))), taken).key()
}

type ExecChange = fn(&mut ExecOp, &mut Taken);

#[test]
fn what_a_step_sees_is_in_its_key() {
    let seen: &[(&str, ExecChange)] = &[
        ("command", |exec, _| exec.argv[2].push('!')),
        ("argument cut", |exec, _| {
            exec.argv = vec!["sh".into(), "-c x".into()];
        }),
        ("value", |exec, _| exec.env[0].1.push('!')),
        ("name", |exec, _| exec.env[0].0.push('!')),
        ("variable gone", |exec, _| drop(exec.env.pop())),
        ("empty variable", |exec, _| {
            exec.env.push(("C".into(), String::new()));
        }),
        ("directory", |exec, _| exec.cwd = "/w".into()),
        ("user", |exec, _| exec.user = "1".into()),
        ("network", |exec, _| exec.network = ExecNetwork::None),
        ("security", |exec, _| exec.insecure = true),
        ("surroundings", |exec, _| {
            exec.surroundings.push(("group".into(), "7".into()));
        }),
        ("device", |exec, _| {
            let gpu = ("vendor.com/gpu=0".into(), "/dev/gpu0 (rw)".into());
            exec.devices.devices.push(gpu);
        }),
        ("base", |_, taken| taken.base = Some(digest(9))),
        ("mounted files", |_, taken| {
            taken.mounts[0] = Some(digest(9))
        }),
        ("target", |exec, _| exec.mounts[0].target.push('!')),
        ("mount gone", |exec, _| drop(exec.mounts.pop())),
        ("writable", |exec, _| {
            if let MountKind::Bind { writable, .. } = &mut exec.mounts[0].kind {
                *writable = true;
            }
        }),
        ("cache", |exec, _| {
            if let MountKind::Cache { name, .. } = &mut exec.mounts[1].kind {
                name.push('!');
            }
        }),
        ("mode of a cache", |exec, _| {
            if let MountKind::Cache { mode, .. } = &mut exec.mounts[1].kind {
                *mode = 0o700;
            }
        }),
        ("size", |exec, _| {
            exec.mounts[2].kind = MountKind::Tmpfs { size: Some(1) };
        }),
        ("variable of a secret", |exec, _| {
            if let MountKind::Secret { env, .. } = &mut exec.mounts[3].kind {
                *env = Some("S".into());
            }
        }),
        ("owner of a socket", |exec, _| {
            if let MountKind::Ssh { uid, .. } = &mut exec.mounts[4].kind {
                *uid = 7;
            }
        }),
    ];
    let plain = key_of(exec(), &taken());
    for (what, change) in seen {
        let (mut exec, mut taken) = (exec(), taken());
        change(&mut exec, &mut taken);
        assert_ne!(key_of(exec, &taken), plain, "{what}");
    }
}

#[test]
fn what_changes_no_result_is_in_no_key() {
    let unseen: &[(&str, ExecChange)] = &[
        ("forced", |exec, _| exec.ignore_cache = true),
        ("proxy", |exec, _| {
            exec.proxies.push(("HTTP_PROXY".into(), "p".into()));
        }),
        ("host name", |exec, _| exec.hostname = Some("h".into())),
        ("number of a context", |exec, _| {
            if let MountKind::Bind { from, .. } = &mut exec.mounts[0].kind {
                *from = FileSource::Context(ContextId(7));
            }
        }),
    ];
    let plain = key_of(exec(), &taken());
    for (what, change) in unseen {
        let (mut exec, mut taken) = (exec(), taken());
        change(&mut exec, &mut taken);
        assert_eq!(key_of(exec, &taken), plain, "{what}");
    }
    let mut elsewhere = vertex(Op::Exec(Box::new(exec())));
    elsewhere.origin.image = "other".into();
    elsewhere.origin.step = (7, 9);
    assert_eq!(KeyInputs::of(&elsewhere, &taken()).key(), plain);
}

fn copy() -> CopyOp {
    CopyOp {
        paths: vec!["/a".into()],
        dest: "/d/".into(),
        ..CopyOp::everything(ContextId(0))
    }
}

fn key_of_copy(copy: CopyOp, taken: &Taken) -> CacheKey {
    KeyInputs::of(&vertex(Op::Copy(Box::new(copy))), taken).key()
}

type CopyChange = fn(&mut CopyOp);

#[test]
fn a_copy_is_its_files_and_what_is_done_with_them() {
    let seen: &[(&str, CopyChange)] = &[
        ("destination", |copy| copy.dest = "/d".into()),
        ("owner", |copy| copy.chown = Some("1".into())),
        ("mode", |copy| copy.chmod = Some("1".into())),
        ("link", |copy| copy.link = true),
        ("parents", |copy| copy.parents = true),
        ("add", |copy| copy.add = true),
        ("unpack", |copy| copy.unpack = true),
        ("heredoc", |copy| copy.inline.push(("E".into(), "x".into()))),
    ];
    let plain = key_of_copy(copy(), &taken());
    for (what, change) in seen {
        let mut changed = copy();
        change(&mut changed);
        assert_ne!(key_of_copy(changed, &taken()), plain, "{what}");
    }
    // Other words for the same files are the same copy.
    let mut same = copy();
    same.paths = vec!["/a/../a".into()];
    same.exclude = vec!["nothing".into()];
    same.from = FileSource::Context(ContextId(7));
    assert_eq!(key_of_copy(same, &taken()), plain);
}

/// The base of a linked copy says nothing but what the name of an owner means.
#[test]
fn a_linked_copy_follows_its_base_only_for_names() {
    let follows = |chown: Option<&str>| {
        let linked = || CopyOp {
            link: true,
            chown: chown.map(str::to_owned),
            ..copy()
        };
        let mut other = taken();
        other.base = Some(digest(9));
        key_of_copy(linked(), &taken()) != key_of_copy(linked(), &other)
    };
    for number in [None, Some("7"), Some("7:8"), Some(":8")] {
        assert!(!follows(number), "{number:?}");
    }
    for name in ["ann", "7:staff", "ann:8"] {
        assert!(follows(Some(name)), "{name}");
    }
}
