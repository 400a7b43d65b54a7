//! x
use super::*;
use std::time::Instant;
#[test]
fn speed() {
    let bench = Bench::new();
    let n = 50_000;
    let blob = vec![7u8; 10_000];
    for i in 0..n {
        let d = bench
            .context
            .join(format!("d{:03}/e{:02}", i / 500, (i / 50) % 10));
        if i % 50 == 0 {
            fs::create_dir_all(&d).unwrap();
        }
        let mut b = blob.clone();
        b[..8].copy_from_slice(&(i as u64).to_le_bytes());
        fs::write(d.join(format!("file{i}")), b).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let paths = [".".to_owned()];
    let rss = || {
        let s = fs::read_to_string("/proc/self/status").unwrap();
        s.lines()
            .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
            .map(|l| l.split_whitespace().nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let cpu = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
    };
    let c0 = std::cell::Cell::new(cpu());
    let lap = || {
        let n = cpu();
        let d = n - c0.get();
        c0.set(n);
        format!("cpu {d:.3}")
    };
    eprintln!("start rss {:?}", rss());
    for round in 0..4 {
        let t = Instant::now();
        let context = bench.context().keeping_digests(&bench.store);
        eprintln!("  open {:?}", t.elapsed());
        let sources = CopySources {
            paths: &paths,
            parents: false,
            exclude: &[],
            workers: 2,
            cancel: &bench.cancel,
        };
        let t2 = Instant::now();
        let sel = select(&context, &sources).unwrap();
        eprintln!(
            "round {round} select {:?} {} rss {:?}",
            t2.elapsed(),
            lap(),
            rss()
        );
        let t3 = Instant::now();
        context.save_digests().unwrap();
        eprintln!("  save {:?}", t3.elapsed());
        if round == 0 {
            let t = Instant::now();
            let active = bench.store.begin_snapshot().unwrap();
            bench
                .apply(&context, &sel, &[], &Copy::new(&["."], "/app/"), &active)
                .unwrap();
            eprintln!("apply {:?} {} rss {:?}", t.elapsed(), lap(), rss());
            let t = Instant::now();
            let id = active.commit().unwrap();
            bench.store.snapshot_content(&id).unwrap();
            eprintln!("content {:?} {} rss {:?}", t.elapsed(), lap(), rss());
            let t = Instant::now();
            std::process::Command::new("cp")
                .arg("-r")
                .arg(&bench.context)
                .arg(bench.context.parent().unwrap().join("copy"))
                .status()
                .unwrap();
            eprintln!("cp -r {:?}", t.elapsed());
        }
    }
}
