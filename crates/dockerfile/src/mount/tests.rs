//! Tests of mounts; the refusals' wording is BuildKit's.

use super::*;

fn resolve(text: &str) -> Result<Mount, String> {
    let flag = MountFlag::parse(Word::new(text.to_owned(), Span::default()))
        .map_err(|error| error.to_string())?;
    flag.resolve(&mut |word| Ok(word.replace("$CACHE", "/cache")))
        .map_err(|error| error.to_string())
}

#[track_caller]
fn check_error(text: &str, expected: &str) {
    assert_eq!(resolve(text).unwrap_err(), expected, "{text}");
}

#[test]
fn bind_is_the_default_and_read_only() {
    assert_eq!(
        resolve("target=/src,from=base,source=/x").unwrap(),
        Mount::Bind {
            from: Some("base".into()),
            source: Some("/x".into()),
            target: "/src".into(),
            read_only: true
        }
    );
    assert!(matches!(
        resolve("dst=/src,rw").unwrap(),
        Mount::Bind {
            read_only: false,
            ..
        }
    ));
}

#[test]
fn cache_values_are_expanded() {
    assert_eq!(
        resolve("type=cache,target=$CACHE,sharing=locked,mode=0750,uid=1000,id=x").unwrap(),
        Mount::Cache {
            id: Some("x".into()),
            target: "/cache".into(),
            sharing: Sharing::Locked,
            from: None,
            source: None,
            read_only: false,
            file: FileAttributes {
                mode: Some(0o750),
                uid: Some(1000),
                gid: None
            },
        }
    );
}

#[test]
fn tmpfs_has_a_size() {
    assert!(matches!(
        resolve("type=tmpfs,target=/t,size=64m").unwrap(),
        Mount::Tmpfs {
            size: Some(0x400_0000),
            ..
        }
    ));
}

#[test]
fn secret_names_and_places() {
    let places = |text| match resolve(text).unwrap() {
        Mount::Secret {
            id, target, env, ..
        } => (id, target, env),
        other => panic!("{other:?}"),
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        places("type=secret,id=a"),
        ("a".into(), some("/run/secrets/a"), None)
    );
    assert_eq!(
        places("type=secret,target=/etc/token"),
        ("token".into(), some("/etc/token"), None)
    );
    assert_eq!(
        places("type=secret,id=a,env=TOKEN"),
        ("a".into(), None, some("TOKEN"))
    );
    assert_eq!(
        places("type=secret,id=a,env="),
        ("a".into(), None, some("a"))
    );
}

#[test]
fn ssh_may_be_required() {
    assert!(matches!(
        resolve("type=ssh,required").unwrap(),
        Mount::Ssh {
            required: true,
            id: None,
            ..
        }
    ));
}

#[test]
fn refusals() {
    check_error(
        "type=cash,target=/x",
        "unsupported mount type \"cash\" (did you mean cache?)",
    );
    check_error(
        "type=cache,traget=/x",
        "unexpected key 'traget' in 'traget=/x' (did you mean target?)",
    );
    check_error(
        "type=bind,from=$x,target=/x",
        "'from' doesn't support variable expansion, define alias stage instead",
    );
    check_error(
        "type=bind,target=/x,required",
        "unexpected key 'required' for mount type 'bind'",
    );
    check_error(
        "target=/x,mode=1",
        "mode not allowed for \"bind\" type mounts",
    );
    check_error(
        "target=/x,size=1",
        "unexpected key 'size' for mount type 'bind'",
    );
    check_error("type=cache,target=/x,mode=8", "invalid value for mode: 8");
    check_error(
        "target=/x,sharing=shared",
        "invalid cache sharing set for bind mount",
    );
    check_error(
        "type=secret",
        "invalid secret mount. one of source, target required",
    );
    check_error(
        "type=secret,id=a,source=b",
        "both source and id can't be set",
    );
    check_error(
        "target=/x,what",
        "invalid field 'what' must be a key=value pair",
    );
    check_error("", "failed to parse csv mounts: no fields");
}

#[test]
fn fields_of_other_builders_are_told_from_slips() {
    let hint = |text: &str| {
        let flag = MountFlag::parse(Word::new(text.to_owned(), Span::default())).unwrap();
        let resolved = flag.resolve(&mut |word| Ok(word.to_owned()));
        resolved.unwrap_err().hint()
    };
    assert!(hint("type=bind,target=/x,Z").unwrap().contains("SELinux"));
    assert!(
        hint("type=bind,target=/x,z=true")
            .unwrap()
            .contains("SELinux")
    );
    assert!(hint("type=tmpfs,target=/x,tmpcopyup").is_some());
    assert_eq!(hint("type=bind,traget=/x"), None);
}
