//! Devices of this machine in steps and containers: by the names of their vendor, and as files.

use crate::workshop::Workshop;

const DESCRIBED: &str = "cdiVersion: \"0.6.0\"
kind: vendor1.com/device
devices:
- name: foo
  containerEdits:
    env: [FOO=injected]
    deviceNodes: [{path: /dev/foo, hostPath: /dev/zero}]
";

fn with_a_device() -> Option<Workshop> {
    let workshop = Workshop::with_base()?;
    workshop.write("cdi/vendor1.yaml", DESCRIBED);
    Some(workshop)
}

#[test]
fn a_step_is_handed_the_device_that_it_asks_for_if_it_is_allowed() {
    let Some(workshop) = with_a_device() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\n\
         RUN --device=vendor1.com/device=foo echo \"got $FOO\"; head -c 3 /dev/foo | wc -c\n\
         RUN echo \"none ${FOO:-here}\"; ls -d /dev/foo || true\n",
    );
    let build = ["build", "--cdi-config-dir", "cdi", "./app"];
    workshop
        .cairn(&build)
        .code(2)
        .err_has("Dockerfile:2")
        .err_has("device vendor1.com/device=foo is requested by the build but not allowed")
        .err_has("--allow device=vendor1.com/device=foo");
    for leave in ["device", "device=vendor1.com/device"] {
        let build = [&build[..], &["--allow", leave, "--no-cache"]].concat();
        workshop
            .cairn(&build)
            .success()
            .err_has("got injected\n")
            .err_has("none here\n")
            .err_has("/dev/foo: No such file");
    }
    // Without the device the step is another one; with it again, it is known.
    workshop
        .cairn(&["build", "./app"])
        .success()
        .err_has("goes without the device vendor1.com/device=foo, which is not registered")
        .err_has("got \n");
    let again = [&build[..], &["--allow", "device"]].concat();
    workshop.cairn(&again).success().err_lacks("got injected");
}

#[test]
fn a_device_that_is_required_and_not_there_is_an_error_with_its_place() {
    let Some(workshop) = with_a_device() else {
        return;
    };
    workshop.write(
        "app/Dockerfile",
        "FROM base\nRUN --device=vendor1.com/device=bar,required true\n",
    );
    workshop
        .cairn(&["build", "--cdi-config-dir", "cdi", "./app"])
        .code(2)
        .err_has("Dockerfile:2")
        .err_has("required device \"vendor1.com/device=bar\" is not registered")
        .err_has("this machine has vendor1.com/device=foo");
}

#[test]
fn the_command_line_hands_devices_to_every_step_and_to_containers() {
    let Some(workshop) = with_a_device() else {
        return;
    };
    let show = "echo \"got $FOO\"; head -c 3 /dev/foo | wc -c; echo x > /dev/hole";
    workshop.write("app/Dockerfile", &format!("FROM base\nRUN {show}\n"));
    let flags = [
        "--device=vendor1.com/device=foo",
        "--device=/dev/null:/dev/hole",
        "--cdi-config-dir=cdi",
    ];
    let build = [&["build", "-t", "app"], &flags[..], &["./app"]].concat();
    workshop.cairn(&build).success().err_has("got injected\n");
    let run = [&["run"], &flags[..], &["app", "sh", "-c", show]].concat();
    workshop.cairn(&run).success().out_has("got injected\n3\n");
    workshop
        .cairn(&["run", "--device=vendor1.com/none=x", "app", "true"])
        .code(125)
        .err_has("`--device`: required device \"vendor1.com/none=x\" is not registered");
    workshop
        .cairn(&["build", "--device=/dev/no-such", "./app"])
        .code(2)
        .err_has("there is no /dev/no-such on this machine");
}
