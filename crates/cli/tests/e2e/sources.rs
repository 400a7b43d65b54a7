//! Where files come from: repositories, the web, archives, standard input, named contexts.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use cairn_testkit::needs;

use crate::web::{MODIFIED, Web};
use crate::workshop::{Said, Workshop, has_many_ids, said};

const COPY_FOO: &str = "FROM scratch\nCOPY foo out\n";

/// A repository `repo` of two commits, served without any git on the server's side.
struct Forge {
    workshop: Workshop,
    web: Web,
    first: String,
}

impl Forge {
    fn new() -> Option<Self> {
        let version = Command::new("git").arg("--version").output();
        if !needs("git", version.is_ok_and(|out| out.status.success())) {
            return None;
        }
        let workshop = Workshop::with_base()?;
        workshop.write("repo/Dockerfile", COPY_FOO);
        workshop.write("repo/foo", "first");
        git(&workshop, &["init", "--quiet", "--initial-branch=main"]);
        git(&workshop, &["add", "."]);
        git(&workshop, &["commit", "--quiet", "--message=first"]);
        git(&workshop, &["tag", "v1"]);
        let first = git(&workshop, &["rev-parse", "HEAD"]).trim().to_owned();
        workshop.write("repo/foo", "second");
        workshop.write("repo/sub/foo", "below");
        workshop.write("repo/sub/Dockerfile", COPY_FOO);
        git(&workshop, &["add", "."]);
        git(&workshop, &["commit", "--quiet", "--message=second"]);
        git(&workshop, &["tag", "--annotate", "--message=v2", "v2"]);
        git(&workshop, &["update-server-info"]);
        let web = Web::of(workshop.path());
        Some(Self {
            workshop,
            web,
            first,
        })
    }

    fn url(&self, rest: &str) -> String {
        self.web.url(&format!("repo/.git{rest}"))
    }

    /// Builds a context and gives what its Dockerfile made of `foo`.
    fn built(&self, rest: &str) -> Result<String, String> {
        let said = self
            .workshop
            .cairn(&["build", "-o", "type=local,dest=tree", &self.url(rest)]);
        match said.code {
            0 => Ok(self.workshop.read("tree/out")),
            _ => Err(said.err),
        }
    }
}

fn git(workshop: &Workshop, arguments: &[&str]) -> String {
    git_in(&workshop.path().join("repo"), arguments)
}

fn git_in(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(arguments)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_repository_is_a_context_by_branch_tag_commit_and_directory() {
    let Some(forge) = Forge::new() else { return };
    let built = |rest: &str| forge.built(rest);
    assert_eq!(built("").as_deref(), Ok("second"));
    assert_eq!(built("#v1").as_deref(), Ok("first"));
    assert_eq!(built("?tag=v1#refs/tags/v1").as_deref(), Ok("first"));
    assert_eq!(built("?branch=main&subdir=sub").as_deref(), Ok("below"));
    assert_eq!(built("#v2:sub").as_deref(), Ok("below"));
    let first = &forge.first;
    assert_eq!(built(&format!("#{first}")).as_deref(), Ok("first"));
    assert_eq!(
        built(&format!("?commit={}", &first[..8])).as_deref(),
        Ok("first")
    );
    assert_eq!(
        built(&format!("?tag=v1&commit={first}")).as_deref(),
        Ok("first")
    );
    let fails = |rest: &str, why: &str| {
        let error = built(rest).unwrap_err();
        assert!(error.contains(why), "{rest}: {error}");
    };
    fails("?branch=v1", "repository does not contain ref");
    fails(
        &format!("?ref={}", &first[..8]),
        "repository does not contain ref",
    );
    fails(
        &format!("?tag=v2&commit={first}"),
        "expected checksum to match",
    );
    fails("#main:nowhere", "nowhere");
    fails("?depth=1", "unexpected query");
    // A tag that is called like the beginning of a commit is not that commit.
    let short = &first[..8];
    git(&forge.workshop, &["tag", short, "main"]);
    git(&forge.workshop, &["update-server-info"]);
    fails(&format!("?commit={short}"), "expected checksum to match");
}

#[test]
fn a_repository_may_have_long_hashes() {
    let Some(forge) = Forge::new() else { return };
    let workshop = &forge.workshop;
    workshop.write("long/repo/foo", "long");
    workshop.write("long/repo/Dockerfile", COPY_FOO);
    let git = |arguments: &[&str]| git_in(&workshop.path().join("long/repo"), arguments);
    git(&["init", "--quiet", "--object-format=sha256"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=one"]);
    git(&["update-server-info"]);
    let url = forge.web.url("long/repo/.git");
    workshop
        .cairn(&["build", "-o", "type=local,dest=tree", &url])
        .success();
    assert_eq!(workshop.read("tree/out"), "long");
}

#[test]
fn a_login_in_an_address_stays_out_of_the_image() {
    let Some(forge) = Forge::new() else { return };
    let url = forge.url("#v1").replace("http://", "http://joe:hunter2@");
    let text = format!(
        "FROM base\nADD --keep-git-dir {url} /x\n\
         RUN grep -q /repo/.git /x/.git/config && ! grep -r hunter2 /x/.git\n"
    );
    forge.workshop.write("app/Dockerfile", &text);
    forge.workshop.cairn(&["build", "./app"]).success();
}

#[test]
fn add_takes_a_repository_and_its_commit_is_the_key() {
    let Some(forge) = Forge::new() else { return };
    let add = |line: &str| {
        let text = format!(
            "FROM base\n{line}\nRUN echo ran; stat -c '%u:%g %a' /x/foo; ls -a /x; cat /x/foo\n"
        );
        forge.workshop.write("app/Dockerfile", &text);
        forge
            .workshop
            .cairn(&["build", "--progress", "plain", "./app"])
    };
    add(&format!("ADD --chown=42:43 {} /x", forge.url("#v1")))
        .success()
        .err_has(if has_many_ids() { "42:43 644" } else { " 644" })
        .err_has("first")
        .err_lacks(".git\n");
    // Another way to the same commit: nothing runs.
    let requests = forge.web.requests();
    let first = &forge.first;
    add(&format!(
        "ADD --chown=42:43 --checksum={first} {} /x",
        forge.url("?tag=v1")
    ))
    .success()
    .err_lacks("ran");
    assert_eq!(forge.web.requests(), requests, "a checksum asks nobody");
    add(&format!("ADD --keep-git-dir {} /x", forge.url("#v2")))
        .success()
        .err_has("second")
        .err_has(".git");
    add(&format!("ADD --checksum={first} {} /x", forge.url("#v2")))
        .code(1)
        .err_has("Dockerfile:2")
        .err_has("expected checksum to match");
    add(&format!("ADD --checksum=foobar {} /x", forge.url("#v2")))
        .code(2)
        .err_has("expected hex commit hash");
    add(&format!("ADD {} /x", forge.url("#nowhere")))
        .code(1)
        .err_has("repository does not contain ref nowhere");
    add(&format!("COPY {} /x", forge.url("")))
        .code(2)
        .err_has("git ref for COPY");
}

#[test]
fn files_of_the_web_are_named_dated_checked_and_unpacked_as_asked() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("files/a b.txt", "text");
    std::fs::rename(
        workshop.path().join("files/a b.txt"),
        workshop.path().join("a%20b.txt"),
    )
    .unwrap();
    archive(&workshop, "box.tar", "inside", "packed");
    let web = Web::of(workshop.path());
    let add = |line: &str| {
        let text = format!(
            "FROM base\n{line}\nRUN cd /d; for f in *; do stat -c '%n %a %Y' \"$f\"; done\n"
        );
        workshop.write("app/Dockerfile", &text);
        workshop.cairn(&["build", "--progress", "plain", "./app"])
    };
    let text = web.url("a%20b.txt");
    add(&format!("ADD {text} /d/"))
        .success()
        .err_has(&format!("a b.txt 600 {MODIFIED}"));
    add(&format!("ADD {} /d/", web.url("box.tar")))
        .success()
        .err_has("box.tar 600");
    add(&format!("ADD --unpack {} /d/", web.url("box.tar")))
        .success()
        .err_has("inside 644");
    let sha256 = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";
    add(&format!("ADD --checksum=sha256:{sha256} {text} /d/")).success();
    let wrong = sha256.replace('9', "8");
    add(&format!("ADD --checksum=sha256:{wrong} {text} /d/"))
        .code(1)
        .err_has("digest mismatch")
        .err_has(sha256);
    add(&format!("ADD --checksum=sha256:12 {text} /d/"))
        .code(2)
        .err_has("invalid checksum digest");
    add("ADD --checksum=sha256:12 app /d/").code(2);
    add(&format!("COPY {text} /d/"))
        .code(2)
        .err_has("URL for COPY");
}

#[test]
fn archives_are_contexts_from_the_web_and_from_standard_input() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("files/foo", "packed");
    workshop.write("files/Dockerfile", COPY_FOO);
    workshop.write("files/Other", "FROM scratch\nCOPY foo other\n");
    let mut tar = tar::Builder::new(File::create(workshop.path().join("c.tar")).unwrap());
    tar.append_dir_all(".", workshop.path().join("files"))
        .unwrap();
    tar.finish().unwrap();
    let web = Web::of(workshop.path());
    let from_stdin = |file: &str, arguments: &[&str]| -> Said {
        let mut command = workshop.command(arguments);
        command.stdin(File::open(workshop.path().join(file)).unwrap());
        said(command.output().unwrap())
    };
    let output = |name: &str| format!("type=local,dest={name}");
    workshop
        .cairn(&["build", "-o", &output("t1"), &web.url("c.tar")])
        .success();
    assert_eq!(workshop.read("t1/out"), "packed");
    from_stdin("c.tar", &["build", "-o", &output("t2"), "-f", "Other", "-"]).success();
    assert_eq!(workshop.read("t2/other"), "packed");
    from_stdin(
        "files/Other",
        &["build", "-o", &output("t3"), "-f", "-", "./files"],
    )
    .success();
    assert_eq!(workshop.read("t3/other"), "packed");
    from_stdin("files/Other", &["build", "-"])
        .code(1)
        .err_has("\"/foo\": not found");
    from_stdin("c.tar", &["build", "-f", "None", "-"])
        .code(2)
        .err_has("no Dockerfile at None");
    // A full path is one of this machine, whatever the context is.
    workshop.write("beside", "FROM scratch\nCOPY foo beside\n");
    let beside = workshop.path().join("beside");
    let beside = ["-f", beside.to_str().unwrap()];
    let there = ["build", "-o", "t5", &web.url("c.tar")];
    workshop.cairn(&[&there[..], &beside].concat()).success();
    assert_eq!(workshop.read("t5/beside"), "packed");
    let piped = ["build", "-o", "t6", "-"];
    from_stdin("c.tar", &[&piped[..], &beside].concat()).success();
    assert_eq!(workshop.read("t6/beside"), "packed");
    // A Dockerfile from the web is all there is.
    workshop.write("lone", "FROM scratch\nCOPY context /out\n");
    workshop
        .cairn(&["build", "-f", "Any", "-o", &output("t4"), &web.url("lone")])
        .success();
    assert!(workshop.read("t4/out").starts_with("FROM scratch"));
}

#[test]
fn a_source_of_files_may_date_the_image() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    archive(&workshop, "box.tar", "foo", "box");
    let web = Web::of(workshop.path());
    let file = |before: &str| {
        let text = format!(
            "{before}FROM base\nARG SOURCE_DATE_EPOCH\nRUN test -z \"$SOURCE_DATE_EPOCH\" || \
             test \"$SOURCE_DATE_EPOCH\" = {MODIFIED}\nRUN echo \"<$SOURCE_DATE_EPOCH>\"\n"
        );
        workshop.write("app/Dockerfile", &text);
    };
    let told = format!("<{MODIFIED}>");
    let build = |arguments: &[&str]| {
        let line = ["build", "--no-cache", "./app"];
        workshop.cairn(&[&line, arguments].concat())
    };
    let stage = format!("FROM scratch AS src\nADD {} /\n", web.url("box.tar"));
    file(&format!("ARG SOURCE_DATE_EPOCH=src\n{stage}"));
    build(&[]).success().err_has(&told);
    file("ARG SOURCE_DATE_EPOCH=src\n");
    let named = format!("--build-context=src={}", web.url("box.tar"));
    build(&[&named]).success().err_has(&told);
    build(&[]).code(2).err_has("invalid SOURCE_DATE_EPOCH: src");
    // A directory has no time.
    file("");
    build(&["--build-arg=SOURCE_DATE_EPOCH=context"])
        .success()
        .err_has("<>");
    file("ARG SOURCE_DATE_EPOCH=src\nFROM scratch AS src\nCOPY Dockerfile /\n");
    build(&[])
        .code(2)
        .err_has("does not meet source-only requirements: unsupported COPY instruction");
}

#[test]
fn a_link_in_an_unpacked_context_does_not_lead_out_of_it() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("secret", "FROM scratch\n# outside\n");
    let mut tar = tar::Builder::new(File::create(workshop.path().join("c.tar")).unwrap());
    let mut header = header();
    header.set_entry_type(tar::EntryType::Symlink);
    let outside = workshop.path().join("secret");
    tar.append_link(&mut header, "Dockerfile", &outside)
        .unwrap();
    tar.finish().unwrap();
    let mut command = workshop.command(&["build", "-"]);
    command.stdin(File::open(workshop.path().join("c.tar")).unwrap());
    said(command.output().unwrap())
        .code(2)
        .err_has("no Dockerfile");
}

#[test]
fn named_contexts_are_directories_archives_repositories_layouts_and_images() {
    let Some(forge) = Forge::new() else { return };
    let workshop = &forge.workshop;
    workshop.write("dir/foo", "dir");
    archive(workshop, "box.tar", "foo", "box");
    let copied = |context: &str| {
        workshop.write("app/Dockerfile", "FROM scratch\nCOPY --from=x /foo /out\n");
        let context = format!("x={context}");
        let arguments = [
            "build",
            "-o",
            "type=local,dest=tree",
            "--build-context",
            &context,
            "./app",
        ];
        workshop.cairn(&arguments).success();
        workshop.read("tree/out")
    };
    assert_eq!(copied("dir"), "dir");
    assert_eq!(copied("box.tar"), "box");
    assert_eq!(copied(&forge.web.url("box.tar")), "box");
    assert_eq!(copied(&forge.url("#main:sub")), "below");
    workshop
        .cairn(&["export", "base", "layout", "--format", "oci"])
        .success();
    workshop.write("app/Dockerfile", "FROM x\nRUN test -x /bin/busybox\n");
    let from = |context: &str| {
        workshop.cairn(&["build", "--build-context", &format!("x={context}"), "./app"])
    };
    from("oci-layout://layout").success();
    from("docker-image://base").success();
    from("docker-image://scratch").code(1);
    // A stage of that name is not built at all.
    workshop.write(
        "app/Dockerfile",
        "FROM nowhere AS x\nRUN no-such-program\nFROM scratch\nCOPY --from=x /foo /out\n",
    );
    from("dir").success();
    from("target:nowhere")
        .code(2)
        .err_has("target stage \"nowhere\" could not be found");
    workshop.write(
        "app/Dockerfile",
        "FROM base AS other\nRUN echo of a stage > /foo\nFROM x\nCOPY --from=x /foo /out\n",
    );
    from("target:other").success();
    from("nowhere").code(2).err_has("no such directory");
}

/// Writes a tar of one file.
fn archive(workshop: &Workshop, name: &str, inside: &str, text: &str) {
    let file = File::create(workshop.path().join(name)).unwrap();
    let mut tar = tar::Builder::new(file);
    let mut header = header();
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, Path::new(inside), text.as_bytes())
        .unwrap();
    tar.finish().unwrap();
}

fn header() -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

#[test]
fn a_file_of_the_web_is_fetched_again_only_if_it_is_another() {
    let workshop = Workshop::empty();
    workshop.write("web/file", "one");
    workshop.write("web/weak", "one");
    let web = Web::of(&workshop.path().join("web"));
    let build = |name: &str| {
        let text = format!("FROM scratch\nADD {} /got\n", web.url(name));
        workshop.write("app/Dockerfile", &text);
        let said = workshop.cairn(&["build", "-o", "out", "app"]);
        (said.code == 0).then(|| workshop.read("out/got"))
    };
    if build("file").is_none() {
        let _ = cairn_testkit::needs("a store", false);
        return;
    }
    assert_eq!(web.sent(), 1);
    assert_eq!(build("file").as_deref(), Some("one"));
    assert_eq!(web.sent(), 1, "the server said that it is the same");
    workshop.write("web/file", "two");
    assert_eq!(build("file").as_deref(), Some("two"));
    assert_eq!(web.sent(), 2);

    // Nobody is asked: what was fetched is the file, and what was not is missed.
    let asked = web.requests();
    let offline =
        |arguments: &[&str]| workshop.cairn(&[&["build", "-o", "out"], arguments].concat());
    workshop.write("web/file", "three");
    offline(&["--offline", "app"]).success();
    assert_eq!(workshop.read("out/got"), "two");
    workshop.write(
        "app/Dockerfile",
        &format!("FROM scratch\nADD {} /got\n", web.url("weak")),
    );
    offline(&["--offline", "--no-cache", "app"])
        .code(3)
        .err_has("it is not here, and `--offline` forbids to fetch it")
        .err_has("run it once without `--offline`");
    assert_eq!(web.requests(), asked);
    // Docker's word is about images alone.
    offline(&["--pull=never", "app"]).success();
    let sent = web.sent();

    build("weak");
    build("weak");
    assert_eq!(
        web.sent(),
        sent + 2,
        "such a word is about the same bytes only perhaps"
    );
}

#[test]
fn secrets_of_fixed_names_are_logins_of_hosts() {
    let Some(forge) = Forge::new() else {
        return;
    };
    let workshop = &forge.workshop;
    workshop.write("private/file", "for friends");
    std::fs::rename(
        workshop.path().join("repo"),
        workshop.path().join("private/repo"),
    )
    .unwrap();
    let file = forge.web.url("private/file");
    let repository = forge.web.url("private/repo/.git");
    workshop.write(
        "app/Dockerfile",
        &format!("FROM scratch\nADD {file} /files/\nADD {repository} /repo/\n"),
    );
    workshop.write("token", "letmein\n");
    let file_login = "id=HTTP_AUTH_TOKEN_127.0.0.1,src=token";
    let git_login = "id=GIT_AUTH_TOKEN,src=token";
    workshop
        .cairn(&["build", "--secret", git_login, "./app"])
        .code(3)
        .err_has("the server answered 401")
        .err_has("HTTP_AUTH_TOKEN_<host>");
    workshop
        .cairn(&["build", "--secret", file_login, "./app"])
        .code(3)
        .err_has("GIT_AUTH_TOKEN");
    let secrets = ["--secret", file_login, "--secret", git_login];
    let build = |rest: &[&str]| workshop.cairn(&[&["build"], &secrets[..], rest].concat());
    build(&["-o", "tree", "./app"]).success();
    assert_eq!(workshop.read("tree/files/file"), "for friends");
    assert_eq!(workshop.read("tree/repo/foo"), "second");
    build(&["-o", "tree", &repository]).success();
    assert_eq!(workshop.read("tree/out"), "second");

    workshop.write(
        "cairn.toml",
        "[stack]\nname = \"s\"\n[build]\nsecrets = \"secrets.toml\"\n[image.a]\ncontext = \"app\"\n",
    );
    let logins = "GIT_AUTH_TOKEN = \"letmein\"\n\"HTTP_AUTH_TOKEN_127.0.0.1\" = \"letmein\"\n";
    workshop.write("secrets.toml", logins);
    workshop.cairn(&["build", "--no-cache", "a"]).success();
}

#[test]
fn a_file_that_is_packed_on_the_way_is_unpacked() {
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    workshop.write("web/packed", "as it was");
    let web = Web::of(&workshop.path().join("web"));
    let url = web.url("packed");
    let sum = cairn_oci::Digest::sha256(b"as it was");
    workshop.write(
        "app/Dockerfile",
        &format!("FROM scratch\nADD --checksum={sum} {url} /\n"),
    );
    workshop.cairn(&["build", "-o", "tree", "./app"]).success();
    assert_eq!(workshop.read("tree/packed"), "as it was");
    workshop
        .cairn(&["build", "-o", "tree", "--no-cache", "./app"])
        .success();
    assert_eq!(web.sent(), 1, "the store knows the file by its tag");
}

#[test]
fn several_dockerfiles_are_read_as_one() {
    let workshop = Workshop::empty();
    workshop.write("first", "FROM scratch AS first\nCOPY a /of-first");
    workshop.write("app/second", "FROM first\nCOPY --from=third a /of-third\n");
    workshop.write("app/a", "a");
    workshop.write("third", "FROM scratch AS third\nCOPY a /\n");
    let build = |files: &[&str]| {
        let named = files.iter().flat_map(|file| ["-f", file]);
        let all: Vec<&str> = ["build", "-o", "out"].into_iter().chain(named).collect();
        workshop.cairn(&[&all[..], &["./app"]].concat())
    };
    build(&["third", "first", "second"])
        .success()
        .err_has("read as one Dockerfile");
    for name in ["of-first", "of-third"] {
        assert_eq!(workshop.read(&format!("out/{name}")), "a");
    }
    workshop.write("wrong", "FROM first\nCOPY none /\n");
    build(&["first", "wrong"])
        .code(1)
        .err_has("\nDockerfile:4\n");
    build(&["first", "nowhere"])
        .code(2)
        .err_has("cannot read the Dockerfile nowhere");
    build(&["-", "-"])
        .code(2)
        .err_has("standard input can be read once");
}
