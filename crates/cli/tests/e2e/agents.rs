//! `RUN --mount=type=ssh`, with a real agent.

use std::path::Path;
use std::process::{Command, Stdio};

use cairn_testkit::needs;

use crate::workshop::{Workshop, said};

fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

/// Says what the step sees of the socket, and whether something answers there.
const STEP: &str = "stat -c '%a %F' $SSH_AUTH_SOCK && test -w $SSH_AUTH_SOCK";

#[test]
fn an_agent_or_a_key_reaches_a_step_and_nothing_is_left() {
    let is_there = ["ssh-agent", "ssh-add", "ssh-keygen"].into_iter().all(has);
    if !needs("ssh-agent (Debian: openssh-client)", is_there) {
        return;
    }
    let Some(workshop) = Workshop::with_base() else {
        return;
    };
    let key = workshop.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    workshop.write(
        "app/Dockerfile",
        &format!(
            "FROM base\nRUN --mount=type=ssh,mode=741 {STEP}\n\
             RUN --mount=type=ssh,id=b,target=/run/b.sock test $SSH_AUTH_SOCK = /run/b.sock\n\
             RUN test ! -e /run/b.sock && test -z \"$SSH_AUTH_SOCK\"\n"
        ),
    );
    let socket = workshop.path().join("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !socket.exists() {
        assert!(agent.try_wait().unwrap().is_none(), "the agent has ended");
        std::thread::yield_now();
    }
    let build = |agents: &[&str], variable: Option<&Path>| {
        let mut arguments = vec!["build", "--no-cache"];
        for agent in agents {
            arguments.extend(["--ssh", agent]);
        }
        arguments.push("./app");
        let mut command = workshop.command(&arguments);
        match variable {
            Some(path) => command.env("SSH_AUTH_SOCK", path),
            None => command.env_remove("SSH_AUTH_SOCK"),
        };
        said(command.output().unwrap())
    };
    let named = format!("b={}", socket.display());
    build(&["default", &named], Some(&socket))
        .success()
        .err_has("741 socket");
    let keys = format!("default={}", key.display());
    build(&[&keys, &named], None)
        .success()
        .err_has("741 socket");
    agent.kill().unwrap();
    agent.wait().unwrap();

    build(&["default"], None).code(2).err_has("SSH_AUTH_SOCK");
    build(&["default=/nonexistent"], None)
        .code(2)
        .err_has("/nonexistent");
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --mount=type=ssh,required true\n",
    );
    build(&[], None)
        .code(1)
        .err_has("ssh agent default: not found");
}
