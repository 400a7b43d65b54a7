//! What a copy takes has another digest exactly when the copy comes out otherwise: a change of the
//! context is made, and a copy from scratch is the judge.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::property::{patterns, tree};
use super::*;

/// Something that happens to a context between two builds.
#[derive(Debug, Clone)]
enum Change {
    /// One more byte in a file.
    Byte(usize),
    /// Other permissions of a file.
    Mode(usize),
    /// A file has another name.
    Name(usize),
    /// A file becomes a link to another place.
    Link(usize),
    /// A file is gone.
    Gone(usize),
    /// A file that was not there.
    New(String),
    /// A file is as new as it can be, and the same.
    Time(usize),
    /// A file is written anew, and the same.
    Again(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let name = prop_oneof![Just("a/n"), Just("n.x"), Just("b/c.x/n"), Just("d/n")];
    prop_oneof![
        any::<usize>().prop_map(Change::Byte),
        any::<usize>().prop_map(Change::Mode),
        any::<usize>().prop_map(Change::Name),
        any::<usize>().prop_map(Change::Link),
        any::<usize>().prop_map(Change::Gone),
        name.prop_map(|name| Change::New(name.to_owned())),
        any::<usize>().prop_map(Change::Time),
        any::<usize>().prop_map(Change::Again),
    ]
}

impl Change {
    fn make(&self, root: &Path, files: &BTreeSet<String>) {
        let file = |number: &usize| {
            let at = number % files.len();
            root.join(files.iter().nth(at).expect("a file"))
        };
        match self {
            Self::Byte(number) => {
                let mut bytes = fs::read(file(number)).expect("a file");
                bytes.push(b'!');
                fs::write(file(number), bytes).expect("a file");
            }
            Self::Mode(number) => {
                let mode = Permissions::from_mode(0o640);
                fs::set_permissions(file(number), mode).expect("a mode");
            }
            Self::Name(number) => {
                let other = file(number).with_extension("renamed");
                fs::rename(file(number), other).expect("a name");
            }
            Self::Link(number) => {
                fs::remove_file(file(number)).expect("a file");
                symlink("elsewhere", file(number)).expect("a link");
            }
            Self::Gone(number) => fs::remove_file(file(number)).expect("a file"),
            Self::New(name) => {
                let path = root.join(name);
                let parent = path.parent().expect("a parent");
                // A file may be where a directory would have to be: then nothing happens.
                if fs::create_dir_all(parent).is_ok() {
                    let _ = fs::write(path, "new");
                }
            }
            Self::Time(number) => {
                let open = fs::File::options().append(true).open(file(number));
                let later = SystemTime::now() + Duration::from_secs(60);
                open.expect("a file").set_modified(later).expect("a time");
            }
            Self::Again(number) => {
                let bytes = fs::read(file(number)).expect("a file");
                fs::remove_file(file(number)).expect("a file");
                fs::write(file(number), bytes).expect("a file");
            }
        }
    }
}

fn sources() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("."), Just("a"), Just("*"), Just("b/*"), Just("a/b")]
}

/// The digest of what is taken, and what comes of it on nothing.
fn taken(bench: &Bench, copy: &Copy<'_>) -> Option<(String, Vec<String>)> {
    let context = bench.context();
    let selection = bench.select(&context, copy).ok()?;
    let active = bench.store.begin_snapshot().expect("a snapshot");
    bench.apply(&context, &selection, &[], copy, &active).ok()?;
    Some((selection.digest().to_string(), bench.change(active)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_key_changes_exactly_when_the_result_does(
        files in tree(),
        exclude in patterns(),
        source in sources(),
        parents in any::<bool>(),
        changes in prop::collection::vec(change(), 1..3),
    ) {
        let bench = Bench::new();
        for file in &files {
            bench.write(&[&format!("{file}={file}")]);
        }
        let exclude: Vec<&str> = exclude.iter().map(String::as_str).collect();
        let paths = [source];
        let copy = Copy { parents, exclude: &exclude, ..Copy::new(&paths, "/d/") };
        let mut before = taken(&bench, &copy);
        // Each change is for the files that were there at first; the first that is gone ends it.
        for change in changes {
            let is_there = files.iter().all(|file| bench.context.join(file).is_file());
            if !is_there {
                break;
            }
            change.make(&bench.context, &files);
            let after = taken(&bench, &copy);
            if let (Some((key, result)), Some((later_key, later_result))) = (&before, &after) {
                // What a wildcard finds may hide what it found before, and a directory may have
                // nothing left to give: then the key may change for nothing, never the other way.
                let may_hide = source.contains('*') && result == later_result;
                prop_assert!(
                    may_hide || (key == later_key) == (result == later_result),
                    "{:?}: {:?} and {:?}", change, result, later_result
                );
            }
            before = after;
        }
    }
}
