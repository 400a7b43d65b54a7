//! What goes wrong is said where it went wrong, with the exit code of its kind.

use std::os::unix::fs::symlink;

use crate::workshop::{Workshop, has_many_ids};

#[test]
fn a_failing_step_shows_its_line_its_log_and_a_hint() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN echo before\nRUN echo trying; no-such-tool\n",
    );
    workshop
        .cairn(&["build", "./app"])
        .code(1)
        .err_has("Dockerfile:3")
        .err_has(">>> RUN echo trying; no-such-tool")
        .err_has("trying")
        .err_has("exit code: 127")
        .err_has("PATH");
}

#[test]
fn a_missing_file_names_its_neighbours_and_the_ignore_line() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/requirements.txt", "x");
    workshop.write("app/secret.key", "x");
    workshop.write("app/.dockerignore", "*.key\n");
    workshop.write("app/Dockerfile", "FROM base\nCOPY requirement.txt /\n");
    workshop
        .cairn(&["build", "./app"])
        .code(1)
        .err_has("requirements.txt");
    workshop.write("app/Dockerfile", "FROM base\nCOPY secret.key /\n");
    workshop
        .cairn(&["build", "./app"])
        .code(1)
        .err_has("*.key")
        .err_has(".dockerignore");
}

#[test]
fn wrong_usage_and_wrong_files_end_with_2() {
    let workshop = Workshop::empty();
    workshop.cairn(&["build", "--no-such-flag"]).code(2);
    workshop
        .cairn(&["build", "./nowhere"])
        .code(2)
        .err_has("nowhere");
    workshop
        .cairn(&["pull", "--platform", "linux/amd64,linux/arm64", "x"])
        .code(2)
        .err_has("this command is for one platform at a time");
    workshop
        .cairn(&["up", "--platform", "linux/amd64,noplace"])
        .code(2)
        .err_has("`noplace` is not a platform");
    workshop.write("app/Dockerfile", "FORM base\n");
    workshop
        .cairn(&["build", "./app"])
        .code(2)
        .err_has("Dockerfile:1")
        .err_has("FROM");
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.a]\ncontxt = \"a\"\n",
    );
    workshop
        .cairn(&["plan"])
        .code(2)
        .err_has("contxt")
        .err_has("context");
}

#[test]
fn a_link_out_of_the_context_is_told_with_its_target() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", "FROM base\nCOPY notes /\n");
    symlink("/etc/hostname", workshop.path().join("app/notes")).expect("a link");
    workshop
        .cairn(&["build", "./app"])
        .code(1)
        .err_has("\"/notes\": not found")
        .err_has("`notes` is a link to `/etc/hostname`");
}

#[test]
fn an_argument_that_no_arg_takes_is_warned_of_with_the_likely_one() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "ARG TOP\nFROM base\nARG VERSION\nRUN true\n",
    );
    let build = |arg: &str| {
        workshop
            .cairn(&["build", "--build-arg", arg, "./app"])
            .success()
    };
    build("version=1")
        .err_has("build-args [version] were not consumed")
        .err_has("`VERSION`");
    build("VERSIN=1").err_has("`VERSION`");
    for known in [
        "VERSION=1",
        "TOP=1",
        "HTTP_PROXY=http://x",
        "TARGETARCH=amd64",
    ] {
        build(known).err_lacks("not consumed");
    }
}

#[test]
fn a_host_without_an_address_is_one_line_and_a_hint() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let text = "FROM base\nADD http://no-such-host.invalid/x /x\n";
    workshop.write("app/Dockerfile", text);
    workshop
        .cairn(&["build", "./app"])
        .code(3)
        .err_has("the name `no-such-host.invalid` cannot be resolved")
        .err_has("hint: check the spelling")
        .err_lacks("query_type");
}

#[test]
fn a_container_that_cannot_be_started_ends_with_dockers_codes() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let run = |arguments: &[&str]| workshop.cairn(&[&["run"], arguments].concat());
    run(&["--no-such-flag", "base"]).code(125);
    run(&["no-such-image"]).code(125).err_has("no-such-image");
    run(&["-v", "./nowhere:/x", "base", "true"])
        .code(125)
        .err_has("there is no `./nowhere`");
    for target in ["/", "/proc", "/proc/sys", "/dev"] {
        let volume = format!(".:{target}");
        run(&["-v", &volume, "base", "true"])
            .code(125)
            .err_has(&format!("nothing can be mounted on `{target}`"));
    }
    run(&["base", "no-such-program"]).code(127);
    run(&["base", "/etc/passwd"]).code(126);
    run(&["base", "sh", "-c", "exit 125"]).code(125);
}

#[test]
fn a_damaged_archive_is_named_with_what_is_wrong() {
    let workshop = Workshop::empty();
    workshop.write("junk", &"no archive at all\n".repeat(200));
    for source in ["junk", "tar:junk", "docker-archive:junk", "oci:junk"] {
        workshop
            .cairn(&["load", "-t", "x", source])
            .code(2)
            .err_has("junk");
    }
    workshop.cairn(&["load", "-t", "x", "absent"]).code(2);
    assert_eq!(workshop.cairn(&["images", "-q"]).out, "");
}

#[test]
fn an_unknown_base_says_what_to_do() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("app/Dockerfile", "FROM bsae\nRUN true\n");
    workshop
        .cairn(&["build", "--offline", "./app"])
        .code(2)
        .err_has("bsae")
        .err_has("base");
}

#[test]
fn a_mistyped_home_makes_no_store() {
    let mut workshop = Workshop::empty();
    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[image.a]\ncontext = \"a\"\n",
    );
    workshop.write("a/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    workshop.move_to_store("mistyped");
    let expected = [
        (&["images"][..], 0),
        (&["images", "--json"], 0),
        (&["gc"], 0),
        (&["plan"], 0),
        (&["inspect", "a"], 2),
        (&["why", "a"], 2),
        (&["export", "a", "-"], 2),
        (&["run", "a", "true"], 125),
    ];
    for (command, code) in expected {
        workshop
            .cairn(command)
            .code(code)
            .err_has("no store at ")
            .err_has("/mistyped");
        assert!(!workshop.path().join("mistyped").exists(), "{command:?}");
    }
    assert_eq!(workshop.cairn(&["images", "--json"]).out.trim(), "[]");
    workshop.cairn(&["doctor", "--store"]).success();
    assert!(!workshop.path().join("mistyped").exists());
    workshop.cairn(&["build", "--stack", "nowhere"]).code(2);
    assert!(!workshop.path().join("mistyped").exists());
}

#[test]
fn the_likely_cause_of_a_failed_step_is_named() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let fails = |lines: &str| {
        workshop.write(
            "app/Dockerfile",
            &format!("FROM base AS builder\n{lines}\n"),
        );
        workshop.cairn(&["build", "--offline", "./app"])
    };
    fails("ENV PATH=/bin:/opt\nRUN gcc -v")
        .code(1)
        .err_has("`gcc` is in no directory of PATH, which is /bin:/opt");
    fails("RUN [\"gcc\"]")
        .code(1)
        .err_has("no such program `gcc` in PATH")
        .err_has("Install it");
    if has_many_ids() {
        fails("RUN chmod 700 /root\nUSER ann\nRUN touch /root/x")
            .code(1)
            .err_has("user `ann` (uid 1000)");
    }
    fails("FROM bulider")
        .code(2)
        .err_has("Did you mean the stage `builder`?");
    fails("COPY --from=bulider /a /b")
        .code(2)
        .err_has("Did you mean the stage `builder`?");
    workshop
        .cairn(&["build", "--target", "biulder", "./app"])
        .code(2)
        .err_has("(did you mean builder?)");
}

#[test]
fn secrets_are_in_no_message() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("key", "hunter2-key\n");
    let token = format!("ghp_{}", "a1".repeat(18));
    let file = format!("FROM base\nENV K hunter2-key\nRUN echo {token}; echo hunter2-key; false\n");
    workshop.write("app/Dockerfile", &file);
    for form in ["plain", "json", "quiet"] {
        let said = workshop.cairn(&[
            "build",
            "--secret=id=k,src=key",
            "--progress",
            form,
            "./app",
        ]);
        let said = said.code(1);
        assert!(!said.err.contains("hunter2"), "{form}: {}", said.err);
        // What a step prints is its own; what is told of the file is ours.
        let told = said.err.lines().filter(|line| line.contains("RUN echo"));
        assert!(
            told.clone().all(|line| !line.contains(&token)),
            "{form}: {}",
            said.err
        );
    }
    let said = workshop.cairn(&["lint", "--fix", "--dry-run", "app/Dockerfile"]);
    let said = said.err_has("1 file would be changed");
    assert!(
        !said.out.contains(&token) && !said.err.contains(&token),
        "{}",
        said.out
    );
}

#[test]
fn an_option_of_podmans_mounts_is_told_from_a_slip() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --mount=type=bind,target=/src,Z true\n",
    );
    workshop
        .cairn(&["build", "./app"])
        .code(2)
        .err_has("invalid field 'Z' must be a key=value pair")
        .err_has("labels of SELinux");
}
