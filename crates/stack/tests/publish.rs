//! Generations on real registries: one goes away in the middle, two machines come at once.

use std::collections::BTreeMap;

use cairn_build::image::push::Parcel;
use cairn_oci::{Compression, Descriptor, ImageConfig, Manifest, MediaType, Platform, Reference};
use cairn_registry::{Document, FetchOptions, RegistryClient, RegistryOptions, RetryPolicy, Watch};
use cairn_stack::publish::{
    Action, Item, Ledger, LogEntry, Means, PublishError, Switch, Target, pending, plan_promotion,
    plan_rollback, send,
};
use cairn_testkit::{DockerRegistry, Guard, LayerTar, TempStore, gzip};

const STACK: &str = "s";
/// The image `two` is called otherwise at the second registry.
const NAMES: [[&str; 2]; 2] = [["one", "two"], ["one", "group/zwei"]];

struct Place {
    store: TempStore,
    client: RegistryClient,
    registries: Vec<DockerRegistry>,
}

impl Place {
    fn new(registries: usize) -> Option<Self> {
        let started = (0..registries).map(|_| DockerRegistry::start(Guard::Open));
        let options = RegistryOptions {
            http: FetchOptions {
                retry: RetryPolicy {
                    attempts: 2,
                    connect_attempts: 1,
                    ..RetryPolicy::default()
                },
                ..FetchOptions::default()
            },
            ..RegistryOptions::default()
        };
        Some(Self {
            store: TempStore::new(),
            client: RegistryClient::new(options),
            registries: started.collect::<Option<Vec<_>>>()?,
        })
    }

    fn means(&self, now: i64) -> Means<'_> {
        self.means_of(&self.store, now)
    }

    fn means_of<'a>(&'a self, store: &'a TempStore, now: i64) -> Means<'a> {
        Means {
            store,
            client: &self.client,
            watch: Watch::NONE,
            now,
        }
    }

    fn names(&self) -> Vec<String> {
        let name = |registry: &DockerRegistry| format!("{}/lab", registry.host());
        self.registries.iter().map(name).collect()
    }

    fn targets(&self) -> Vec<Target> {
        let names = self.names().into_iter().zip(NAMES);
        let target = |(registry, [one, two]): (String, [&str; 2])| Target {
            registry,
            repositories: [("one", one), ("two:gpu", two)]
                .map(|(image, name)| (image.to_owned(), name.to_owned()))
                .into(),
        };
        names.map(target).collect()
    }

    /// Two images that say a word, sent everywhere by a machine, and the switch to them.
    fn prepared_by(&self, store: &TempStore, word: &str, tag: &str, now: i64) -> Switch {
        let items = [
            item(store, "one", None, word),
            item(store, "two", Some("gpu"), word),
        ];
        let means = self.means_of(store, now);
        let places = cairn_stack::publish::Place::of(STACK, &items, &self.targets());
        let sending = send(means, &items, &places).unwrap();
        assert!(sending.failed.is_empty(), "{:?}", sending.failed);
        let entry = LogEntry {
            tag: tag.to_owned(),
            number: 0,
            generation: places[0].generation.generation.clone(),
            action: Action::Publish,
            time: now,
            from: None,
            commit: None,
            registries: self.names(),
            images: images(),
        };
        Switch::plan(means, STACK, places, vec![entry], None).unwrap()
    }

    fn prepared(&self, word: &str, tag: &str, now: i64) -> Switch {
        self.prepared_by(&self.store, word, tag, now)
    }

    fn publish(&self, word: &str, tag: &str, now: i64) -> Switch {
        let switch = self.prepared(word, tag, now);
        switch.run(self.means(now)).unwrap();
        switch
    }

    /// Which of the generations every tag means that can be read.
    #[track_caller]
    fn check(&self, registries: &[usize], tag: &str, expected: &Switch) {
        for &number in registries {
            for (image, name) in expected.places[number]
                .generation
                .images
                .iter()
                .zip(NAMES[number])
            {
                let host = self.registries[number].host();
                let suffix = &images()[&image.name()];
                let name = format!("{host}/lab/{name}:{tag}{suffix}");
                let name: Reference = name.parse().unwrap();
                let found = self.client.look_up(&name, Watch::NONE).unwrap();
                let digest = found.map(|found| found.digest);
                assert_eq!(digest.as_ref(), Some(&image.manifest.digest), "{name}");
            }
        }
    }
}

/// The images of all generations, each with what its tags end with.
fn images() -> BTreeMap<String, String> {
    [("one", ""), ("two:gpu", "-gpu")]
        .map(|(image, suffix)| (image.to_owned(), suffix.to_owned()))
        .into()
}

fn item(store: &TempStore, image: &str, variant: Option<&str>, word: &str) -> Item {
    let platform = Platform::new("linux", "amd64");
    let put = |kind: MediaType, bytes: &[u8]| {
        store.put_blob_bytes(bytes).unwrap();
        Descriptor::of(kind, bytes)
    };
    let word = format!("{word} {image}");
    let layer = gzip(&LayerTar::new().file("word", word.as_bytes()).finish());
    let layer = put(MediaType::OciLayer(Compression::Gzip), &layer);
    let config = ImageConfig::new(&platform).to_json_bytes();
    let config = put(MediaType::OciConfig, &config);
    let bytes = Manifest::new(config.clone(), vec![layer.clone()]).to_json_bytes();
    let manifest = put(MediaType::OciManifest, &bytes);
    Item {
        image: image.to_owned(),
        variant: variant.map(str::to_owned),
        platforms: vec![platform],
        manifests: vec![manifest.clone()],
        attested: Vec::new(),
        root: manifest.clone(),
        parcels: vec![Parcel {
            manifest: Document {
                descriptor: manifest,
                bytes,
            },
            blobs: vec![layer, config],
            absent: BTreeMap::new(),
        }],
    }
}

/// A spec without rules.
fn spec() -> cairn_spec::Stack {
    let text = format!("[stack]\nname = \"{STACK}\"\n[image.one]\ncontext = \".\"\n");
    let source = cairn_diagnostic::Source::new("cairn.toml", text);
    cairn_spec::read(&source, &cairn_spec::Surroundings::none()).unwrap()
}

#[test]
fn a_registry_that_goes_away_moves_no_tag_anywhere() {
    let Some(mut place) = Place::new(2) else {
        return;
    };
    let first = place.publish("first", "main", 1);
    place.check(&[0, 1], "main", &first);

    // Away before anything is sent.
    place.registries[1].stop();
    let items = [item(&place.store, "one", None, "never")];
    let places = cairn_stack::publish::Place::of(STACK, &items, &place.targets());
    let sending = send(place.means(2), &items, &places).unwrap();
    assert_eq!(sending.complete.len(), 1);
    assert!(sending.failed[0].0.starts_with(place.registries[1].host()));

    // Away in the moment of the switch: the tags that were moved go back.
    place.registries[1].resume();
    let switch = place.prepared("second", "main", 3);
    assert_eq!((switch.moves.len(), switch.news.len()), (4, 2));
    place.registries[1].stop();
    let error = switch.run(place.means(3)).unwrap_err();
    assert!(matches!(error, PublishError::Undone { .. }), "{error:?}");
    place.check(&[0], "main", &first);
    assert_eq!(pending(&place.store, STACK).unwrap(), None);
    place.registries[1].resume();
    place.check(&[0, 1], "main", &first);
}

#[test]
fn what_cannot_be_undone_is_ended_later() {
    let Some(mut place) = Place::new(2) else {
        return;
    };
    // A tag that meant nothing cannot go back where the registry removes no tags.
    let switch = place.prepared("first", "new", 1);
    place.registries[1].stop();
    let error = switch.run(place.means(1)).unwrap_err();
    assert!(matches!(error, PublishError::Torn { .. }), "{error:?}");
    let left = pending(&place.store, STACK).unwrap().unwrap();
    assert_eq!(left.generation, switch.generation);
    place.registries[1].resume();
    let resumed = left.resume(place.means(2)).unwrap();
    assert_eq!(
        resumed.switched.moved, 2,
        "those of the first registry are there"
    );
    assert_eq!(resumed.passed_over, [""; 0]);
    place.check(&[0, 1], "new", &switch);
    assert_eq!(pending(&place.store, STACK).unwrap(), None);
}

#[test]
fn what_somebody_else_moved_since_stays() {
    let Some(mut place) = Place::new(2) else {
        return;
    };
    let switch = place.prepared("first", "main", 1);
    place.registries[1].stop();
    switch.run(place.means(1)).unwrap_err();
    place.registries[1].resume();
    let other = TempStore::new();
    let newer = place.prepared_by(&other, "second", "main", 2);
    newer.run(place.means_of(&other, 2)).unwrap();
    let left = pending(&place.store, STACK).unwrap().unwrap();
    let resumed = left.resume(place.means(3)).unwrap();
    assert_eq!(resumed.passed_over, ["main"]);
    assert_eq!(resumed.switched.moved, 0);
    place.check(&[0, 1], "main", &newer);
    assert_eq!(pending(&place.store, STACK).unwrap(), None);
}

#[test]
fn promotion_and_rollback_need_nothing_but_the_registries() {
    let Some(mut place) = Place::new(2) else {
        return;
    };
    let first = place.publish("first", "main", 1);
    let second = place.publish("second", "main", 2);
    // Another machine: nothing local is left.
    place.store = TempStore::new();
    let names = place.names();
    let promotion =
        plan_promotion(place.means(3), &spec(), &names, Some("main"), "stable", &[]).unwrap();
    assert_eq!(promotion.before, None);
    promotion.switch.run(place.means(3)).unwrap();
    place.check(&[0, 1], "stable", &second);

    let back = plan_rollback(place.means(4), STACK, &names, "main", None).unwrap();
    assert_eq!(back.before.as_ref(), Some(&second.generation));
    back.switch.run(place.means(4)).unwrap();
    place.check(&[0, 1], "main", &first);
    place.check(&[0, 1], "stable", &second);
    let further = plan_rollback(place.means(5), STACK, &names, "main", None).unwrap_err();
    assert!(matches!(further, PublishError::Refused(_)), "{further:?}");
    let to = &second.generation[..6];
    let forth = plan_rollback(place.means(6), STACK, &names, "main", Some(to)).unwrap();
    forth.switch.run(place.means(6)).unwrap();
    place.check(&[0, 1], "main", &second);

    let yank = |is_yanked| {
        for ledger in Ledger::open_all(place.means(7), &names, STACK).unwrap() {
            ledger
                .yank(place.means(7), &first.generation, is_yanked)
                .unwrap();
        }
        let to = Some(first.generation.as_str());
        plan_rollback(place.means(8), STACK, &names, "main", to)
    };
    let refused = yank(true).unwrap_err();
    assert!(refused.to_string().contains("was yanked"), "{refused:?}");
    yank(false).unwrap();
}

/// The distribution protocol has no "put if nobody else did": both entries are there all the same,
/// and all tags mean what the last one says.
#[test]
fn two_machines_at_once_lose_nothing_and_leave_nothing_torn() {
    let Some(place) = Place::new(2) else {
        return;
    };
    place.publish("before", "main", 1);
    let machines = [TempStore::new(), TempStore::new()];
    // Both have looked before either has moved anything.
    let switches: Vec<Switch> = machines
        .iter()
        .enumerate()
        .map(|(number, store)| place.prepared_by(store, &format!("by {number}"), "main", 2))
        .collect();
    std::thread::scope(|scope| {
        for (switch, store) in switches.iter().zip(&machines) {
            let place = &place;
            scope.spawn(move || switch.run(place.means_of(store, 2)).unwrap());
        }
    });
    let mut last = Vec::new();
    for ledger in Ledger::open_all(place.means(3), &place.names(), STACK).unwrap() {
        let log = ledger.log(place.means(3), "main").unwrap();
        assert_eq!(log.entries.len(), 3, "{log:?}");
        last.push(log.current().unwrap().generation.clone());
    }
    let winner = switches.iter().find(|it| it.generation == last[0]);
    assert_eq!(last[0], last[1]);
    place.check(&[0, 1], "main", winner.unwrap());
}
