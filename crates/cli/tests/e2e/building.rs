//! `cairn build` of a lone Dockerfile.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use crate::workshop::{Workshop, said};

#[test]
fn a_dockerfile_becomes_an_image_that_runs() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/hello", "hello from the context\n");
    workshop.write(
        "app/Dockerfile",
        "FROM base\nENV GREETING=hi\nWORKDIR /srv\nCOPY hello .\nRUN cat hello > copied && echo $GREETING\nCMD [\"cat\", \"copied\"]\n",
    );
    workshop.cairn(&["build", "-t", "app", "./app"]).success();
    let ran = workshop.cairn(&["run", "app"]).success();
    assert_eq!(ran.out, "hello from the context\n");
    let env = workshop.cairn(&[
        "run",
        "-e",
        "X=1",
        "app",
        "sh",
        "-c",
        "echo $GREETING $X; pwd",
    ]);
    assert_eq!(env.success().out, "hi 1\n/srv\n");
    workshop
        .cairn(&["run", "app", "sh", "-c", "exit 7"])
        .code(7);
}

#[test]
fn a_second_build_runs_nothing_and_a_changed_file_only_what_it_reaches() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/lib", "1");
    workshop.write("app/main", "1");
    workshop.write(
        "app/Dockerfile",
        "FROM base\nCOPY lib /lib1\nRUN echo compiling-lib\nCOPY main /main1\nRUN echo compiling-main\n",
    );
    let build = ["build", "--progress", "plain", "-t", "app", "./app"];
    workshop
        .cairn(&build)
        .success()
        .err_has("compiling-lib")
        .err_has("compiling-main");
    workshop
        .cairn(&build)
        .success()
        .err_lacks("compiling-lib")
        .err_lacks("compiling-main");
    workshop.write("app/main", "2");
    workshop
        .cairn(&build)
        .success()
        .err_lacks("compiling-lib")
        .err_has("compiling-main");
    // The same bytes again: the first results are found.
    workshop.write("app/main", "1");
    workshop.cairn(&build).success().err_lacks("compiling-main");
}

#[test]
fn an_unchanged_result_keeps_what_follows() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/note", "a comment\n");
    workshop.write(
        "app/Dockerfile",
        "FROM base AS made\nCOPY note /note\nRUN echo constant > /result\n\
         FROM base\nCOPY --from=made /result /result\nRUN echo expensive-step\n",
    );
    let build = ["build", "--progress", "plain", "-t", "app", "./app"];
    workshop.cairn(&build).success().err_has("expensive-step");
    workshop.write("app/note", "another comment\n");
    workshop.cairn(&build).success().err_lacks("expensive-step");
}

#[test]
fn secrets_reach_the_step_and_nothing_else() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let secret = "s3cr3t-value-of-this-test";
    workshop.write("token", secret);
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --mount=type=secret,id=token,env=TOKEN cat /run/secrets/token; echo \"[$TOKEN]\"; \
         sha256sum /run/secrets/token > /proof\n",
    );
    let said = workshop
        .cairn(&[
            "build",
            "--progress",
            "plain",
            "--secret",
            "id=token,src=token",
            "-t",
            "app",
            "./app",
        ])
        .code(1);
    // With `env=` alone there is no file: the step says so.
    assert!(said.err.contains("/run/secrets/token"), "{}", said.err);
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --mount=type=secret,id=token,target=/run/secrets/token,env=TOKEN \
         cat /run/secrets/token; echo \"[$TOKEN]\"; sha256sum /run/secrets/token > /proof\n",
    );
    let build = [
        "build",
        "--progress",
        "plain",
        "--secret",
        "id=token,src=token",
        "./app",
    ];
    workshop
        .cairn(&build)
        .success()
        .err_has("***")
        .err_lacks(secret);
    assert_eq!(workshop.store_holds(secret.as_bytes()), None);
}

#[test]
fn a_users_bytes_and_mount_points_stay_out_of_layers() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --mount=type=tmpfs,target=/scratch/deep echo x > /scratch/deep/y; \
         test -s /etc/resolv.conf || test -f /etc/resolv.conf; test -d /proc/1\n",
    );
    workshop.cairn(&["build", "-t", "app", "./app"]).success();
    workshop
        .cairn(&["build", "--output", "type=local,dest=tree", "./app"])
        .success();
    for gone in [
        "scratch",
        "proc/1",
        "etc/resolv.conf",
        "etc/hosts",
        "dev/null",
    ] {
        assert!(
            !workshop.path().join("tree").join(gone).exists(),
            "{gone} is in a layer"
        );
    }
}

#[test]
fn a_run_leaves_the_directories_that_every_container_needs() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", "FROM base\nRUN echo a >/dev/null\n");
    workshop.cairn(&["build", "-o", "tree", "./app"]).success();
    for name in ["dev", "proc", "sys"] {
        let path = workshop.path().join("tree").join(name);
        let mode = std::fs::metadata(&path).expect(name).permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{name}");
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn flags_for_steps_reach_them() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN ulimit -Sn; ulimit -Hn; cat /etc/hosts; grep /dev/shm /proc/mounts\n",
    );
    let build = [
        "build",
        "--progress",
        "plain",
        "--ulimit",
        "nofile=100:200",
        "--shm-size",
        "10m",
        "--add-host",
        "peer:10.1.2.3",
        "./app",
    ];
    workshop
        .cairn(&build)
        .success()
        .err_has(" 100\n")
        .err_has(" 200\n")
        .err_has("10.1.2.3        peer")
        .err_has("size=10240k");
}

#[test]
fn what_is_dangerous_must_be_allowed() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --security=insecure grep CapEff /proc/self/status\n",
    );
    workshop
        .cairn(&["build", "./app"])
        .code(2)
        .err_has("Dockerfile:2")
        .err_has("security.insecure is not allowed")
        .err_has("--allow");
    let allowed = [
        "build",
        "--progress",
        "plain",
        "--allow",
        "security.insecure",
        "./app",
    ];
    workshop.cairn(&allowed).success().err_has("CapEff:");
}

#[test]
fn a_secret_shows_nowhere_even_when_the_step_fails() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("token", "first-line-of-it\nsecond-line-of-it\nab\n");
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --mount=type=secret,id=token,target=/t cp /t /kept\n\
         RUN cat /kept; rm /kept; echo; echo ab; exit 3\n",
    );
    for progress in ["plain", "json", "quiet"] {
        let build = [
            "build",
            "--progress",
            progress,
            "--no-cache",
            "--secret",
            "id=token,src=token",
            "./app",
        ];
        let said = workshop.cairn(&build).code(1).err_lacks("line-of-it");
        assert!(!said.out.contains("line-of-it"), "{}", said.out);
        assert!(
            progress == "json" || said.err.contains("***"),
            "{}",
            said.err
        );
    }
    // The step itself kept it in a layer, which nobody can prevent: that layer alone has it.
    let steps_own = workshop
        .store_holds(b"second-line-of-it")
        .expect("the layer");
    assert!(steps_own.ends_with("fs/kept"), "{}", steps_own.display());
}

#[test]
fn a_build_argument_with_newlines_stays_one_value() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nARG A\nENV E=$A\nLABEL l=$A\nWORKDIR /w\nCOPY Dockerfile $A/\n\
         RUN printf '%s|' \"$A\" \"$E\" > /seen; ls -a / > /names\n",
    );
    let value = "one\nRUN touch /injected\nUSER 7";
    let argument = format!("A={value}");
    let build = [
        "build",
        "--build-arg",
        &argument,
        "-t",
        "app",
        "-o",
        "type=local,dest=tree",
        "./app",
    ];
    workshop.cairn(&build).success();
    assert_eq!(workshop.read("tree/seen"), format!("{value}|{value}|"));
    assert!(!workshop.path().join("tree/injected").exists());
    assert!(
        workshop
            .path()
            .join(format!("tree/w/{value}/Dockerfile"))
            .exists()
    );
    let config = workshop.cairn(&["inspect", "app"]).success().out;
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert!(
        config
            .to_string()
            .contains("one\\nRUN touch /injected\\nUSER 7"),
        "{config}"
    );
}

#[test]
fn links_of_a_context_lead_nowhere_outside() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("outside/file", "not part of the context");
    let link = |target: &str, name: &str| {
        let at = workshop.path().join("app").join(name);
        std::os::unix::fs::symlink(target, at).unwrap();
    };
    workshop.write("app/Dockerfile", "FROM base\nCOPY . /c/\n");
    link("../outside", "up");
    link("../outside/file", "file");
    let outside = workshop.path().join("outside");
    link(&outside.display().to_string(), "abs");
    let build = ["build", "-o", "type=local,dest=tree", "./app"];
    workshop.cairn(&build).success();
    let copied = std::fs::read_link(workshop.path().join("tree/c/up")).unwrap();
    assert_eq!(
        copied,
        std::path::Path::new("../outside"),
        "the link itself"
    );
    for source in ["up", "up/file", "file", "abs", "abs/file"] {
        workshop.write("app/Dockerfile", &format!("FROM base\nCOPY {source} /c/\n"));
        workshop.cairn(&build).code(1).err_has("not found");
        let mount = format!("FROM base\nRUN --mount=type=bind,source={source},target=/m ls /m\n");
        workshop.write("app/Dockerfile", &mount);
        workshop.cairn(&build).code(1);
    }
    assert_eq!(workshop.store_holds(b"not part of the context"), None);
}

#[test]
fn flags_of_other_builders_reach_steps_and_images() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("shared/note", "from this machine\n");
    workshop.write("app/kept", "kept\n");
    workshop.write("app/left-out", "left out\n");
    workshop.write("ignored", "left-out\n");
    workshop.write("args", "# a comment\nFROM_FILE=yes\n");
    workshop.write(
        "app/Dockerfile",
        "FROM nobody/has/this\nARG FROM_FILE SOURCE_DATE_EPOCH\nLABEL away=1 stays=1\nCOPY . /app\n\
         RUN cat /mnt/note; ! touch /mnt/x 2>/dev/null; cat /etc/resolv.conf; echo nnp=$(grep -c NoNewPrivs:.1 /proc/self/status); \
         echo \"[$FROM_FILE $GIVEN $SOURCE_DATE_EPOCH]\"; id -G\nRUN rm /app/kept; echo 1 > /one\n",
    );
    let build = workshop.cairn(&[
        "build",
        "--progress",
        "plain",
        "--no-cache=true",
        "--from",
        "base",
        "--build-arg-file",
        "args",
        "--ignorefile",
        "ignored",
        "--volume",
        "shared:/mnt:ro",
        "--dns",
        "192.0.2.7",
        "--security-opt",
        "no-new-privileges",
        "--group-add",
        "0",
        "--env",
        "GIVEN=hello",
        "--unsetenv",
        "PATH",
        "--unsetlabel",
        "away",
        "--label",
        "empty",
        "--source-date-epoch",
        "86400",
        "--squash",
        "--iidfile-raw",
        "id",
        "--layers",
        "-t",
        "app",
        "./app",
    ]);
    build
        .success()
        .err_has("from this machine")
        .err_has("nameserver 192.0.2.7")
        .err_has("[yes hello 86400]")
        .err_has("nnp=1");
    assert_eq!(workshop.read("id").len(), 64);
    let told = workshop.cairn(&["inspect", "app"]).success().out;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let image = &told[0];
    assert_eq!(image["layers"].as_array().unwrap().len(), 2, "{image}");
    let config = &image["config"];
    assert_eq!(config["Env"], serde_json::json!(["GIVEN=hello"]));
    assert_eq!(
        config["Labels"],
        serde_json::json!({ "stays": "1", "empty": "" })
    );
    assert_eq!(image["created"], "1970-01-02T00:00:00Z");
    workshop
        .cairn(&["export", "--format", "local", "app", "out"])
        .success();
    for (path, there) in [
        ("out/one", true),
        ("out/app/kept", false),
        ("out/app/left-out", false),
        ("out/mnt", false),
        ("out/app/Dockerfile", true),
    ] {
        assert_eq!(workshop.path().join(path).exists(), there, "{path}");
    }
}

#[test]
fn a_dockerfile_may_come_through_a_pipe_and_a_link_of_it_stays_inside() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("secret", "FROM base\nRUN echo read-from-outside\n");
    workshop.write("app/sub/real", "FROM base\nRUN echo read-from-inside\n");
    let dockerfile = workshop.path().join("app/Dockerfile");
    symlink("../secret", &dockerfile).unwrap();
    let build = ["build", "--progress", "plain", "./app"];
    workshop
        .cairn(&build)
        .code(2)
        .err_has("is a link to `../secret`, which is not in its directory")
        .err_lacks("read-from-outside");
    fs::remove_file(&dockerfile).unwrap();
    symlink("/sub/real", &dockerfile).unwrap();
    workshop.cairn(&build).success().err_has("read-from-inside");
    let mut piped =
        workshop.command(&["build", "--progress", "plain", "-f", "/dev/stdin", "./app"]);
    let mut child = piped
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = b"FROM base\nRUN echo read-from-a-pipe\n";
    child.stdin.take().unwrap().write_all(text).unwrap();
    said(child.wait_with_output().unwrap())
        .success()
        .err_has("read-from-a-pipe");
}
