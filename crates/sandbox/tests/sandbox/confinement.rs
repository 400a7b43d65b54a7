//! What a program cannot do.

use cairn_sandbox::{Mount, Network, Security};

use crate::fixture::{Fixture, run};
use crate::mode::{ALL, WITH_IDS};
use crate::{Case, cases};

pub(crate) fn cases() -> Vec<Case> {
    let mut all = cases![ALL;
        other_processes_are_invisible,
        namespaces_and_mounts_are_refused,
        what_the_kernel_tells_is_masked,
        devices_are_the_usual_ones,
        the_network_can_be_taken_away,
        our_own_program_cannot_be_written,
        capabilities_are_dockers,
        insecure_is_unconfined,
        insecure_has_the_hosts_devices,
    ];
    all.extend(cases![WITH_IDS; setuid_programs_work_unless_forbidden]);
    all
}

fn other_processes_are_invisible(fixture: &Fixture) {
    let seen = fixture.prints("ls -d /proc/[0-9]*; echo $$");
    assert_eq!(seen.lines().next(), Some("/proc/1"));
    assert!(seen.lines().count() <= 5 && seen.ends_with("\n2"), "{seen}");
}

fn namespaces_and_mounts_are_refused(fixture: &Fixture) {
    for script in [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs none /tmp",
        "umount /proc",
        "mount -o remount,rw /proc/sys",
        "hostname other",
        "chroot / mount -t proc proc /tmp",
        "swapoff -a; mknod /dev/sda b 8 0 && cat /dev/sda",
        "echo x > /proc/sys/kernel/hostname",
        "reboot -f",
    ] {
        let ran = run(&fixture.shell(&fixture.place(), script));
        assert!(!ran.exit.is_success(), "{script}: {ran:?}");
    }
    assert_eq!(fixture.prints("chroot / true && echo fine"), "fine");
}

fn what_the_kernel_tells_is_masked(fixture: &Fixture) {
    let script = "cat /proc/kcore /proc/keys /proc/timer_list 2>/dev/null | wc -c; \
                  ls /sys/firmware /proc/acpi /proc/scsi 2>/dev/null | grep -v : | wc -w; \
                  touch /sys/x 2>/dev/null || echo sys; \
                  echo h > /proc/sysrq-trigger 2>/dev/null || echo sysrq; cat /proc/self/comm";
    assert_eq!(fixture.prints(script), "0\n0\nsys\nsysrq\ncat");
}

fn devices_are_the_usual_ones(fixture: &Fixture) {
    let script = "echo x > /dev/null && head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; \
                  echo x > /dev/full || echo full; ls /dev; \
                  echo piped | cat /dev/fd/0; df -m /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2";
    let mut sandbox = fixture.shell(&fixture.place(), script);
    sandbox.shm_bytes = 3 << 20;
    assert_eq!(
        run(&sandbox).succeeded(),
        "4\n4\nfull\ncore\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\n\
         tty\nurandom\nzero\npiped\n3"
    );
}

fn the_network_can_be_taken_away(fixture: &Fixture) {
    let script = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; ping -c1 -w2 127.0.0.1 >/dev/null && echo up";
    let mut sandbox = fixture.shell(&fixture.place(), script);
    sandbox.network = Network::None;
    let seen = run(&sandbox).stdout;
    assert_eq!(seen.lines().next(), Some("lo"), "{seen}");
    assert!(!seen.contains("eth"), "{seen}");
    let interfaces = std::fs::read_to_string("/proc/net/dev")
        .unwrap()
        .lines()
        .count()
        - 2;
    let inside = fixture.prints("tail -n +3 /proc/net/dev | wc -l");
    assert_eq!(inside, interfaces.to_string());
}

fn our_own_program_cannot_be_written(fixture: &Fixture) {
    let script = "exec 2>/dev/null; (: >> /proc/1/exe) && echo opened; readlink /proc/1/exe; \
                  cat /proc/1/environ /proc/1/maps";
    let ran = run(&fixture.shell(&fixture.place(), script));
    assert_eq!(ran.stdout, "");
    // What executes our program inside runs it from a mount that is read-only.
    let sandbox = fixture.command(&fixture.place(), &["/proc/self/exe", "--list"]);
    let ran = run(&sandbox);
    assert!(ran.exit.is_success(), "{ran:?}");
    let place = fixture.place();
    let own = std::fs::metadata("/proc/self/exe").unwrap().len();
    let mut sandbox = fixture.shell(&place, "sleep 0.2");
    sandbox.mounts = vec![Mount::Tmpfs {
        target: "/x".into(),
        size_bytes: None,
        mode: 0o755,
    }];
    run(&sandbox).succeeded();
    assert_eq!(std::fs::metadata("/proc/self/exe").unwrap().len(), own);
}

fn capabilities_are_dockers(fixture: &Fixture) {
    let seen = fixture.prints("grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2");
    assert_eq!(
        seen,
        "00000000a80425fb\n00000000a80425fb\n00000000a80425fb\n0000000000000000"
    );
    assert!(
        fixture
            .prints("grep Seccomp: /proc/self/status")
            .ends_with('2')
    );
}

fn insecure_is_unconfined(fixture: &Fixture) {
    let mut sandbox = fixture.shell(
        &fixture.place(),
        "mount -t tmpfs none /tmp && touch /tmp/x && ls /tmp",
    );
    sandbox.security = Security::Insecure;
    assert_eq!(run(&sandbox).succeeded(), "x");
}

fn insecure_has_the_hosts_devices(fixture: &Fixture) {
    let there: Vec<&str> = ["fuse", "kmsg", "loop-control", "net/tun"]
        .into_iter()
        .filter(|name| std::path::Path::new("/dev").join(name).exists())
        .collect();
    let look =
        "cd /dev; for it in fuse kmsg loop-control net/tun sda; do test ! -c $it || echo $it; done";
    assert_eq!(fixture.prints(look), "");
    let mut sandbox = fixture.shell(&fixture.place(), look);
    sandbox.security = Security::Insecure;
    assert_eq!(run(&sandbox).succeeded(), there.join("\n"));
}

fn setuid_programs_work_unless_forbidden(fixture: &Fixture) {
    let first = fixture.place();
    let mut sandbox = fixture.shell(&first, "cp /tool /bin/powerful; chmod 4755 /bin/powerful");
    sandbox.mounts.push(fixture.tool());
    run(&sandbox).succeeded();
    let effective = |no_new_privileges| {
        let mut sandbox =
            fixture.command(&fixture.place(), &["powerful", "--tool", "effective-user"]);
        sandbox.lowers.push(first.upper.clone());
        (sandbox.uid, sandbox.gid) = (1000, 1000);
        sandbox.no_new_privileges = no_new_privileges;
        run(&sandbox).succeeded()
    };
    assert_eq!(effective(false), "0", "sudo works as it does in Docker");
    assert_eq!(effective(true), "1000");
}
