//! Generations on two real registries, one of which goes away in the middle.

use cairn_build::image::push::Parcel;
use cairn_oci::{Compression, Descriptor, ImageConfig, Manifest, MediaType, Platform, Reference};
use cairn_registry::{Document, FetchOptions, RegistryClient, RegistryOptions, RetryPolicy, Watch};
use cairn_stack::publish::{
    Action, Generation, GenerationImage, Item, Ledger, LogEntry, Means, PublishError, Switch,
    Target, pending, plan_promotion, plan_rollback, send,
};
use cairn_testkit::{DockerRegistry, Guard, LayerTar, TempStore, gzip};

const STACK: &str = "s";

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
        Means {
            store: &self.store,
            client: &self.client,
            watch: Watch::NONE,
            now,
        }
    }

    fn targets(&self) -> Vec<Target> {
        let target = |registry: &DockerRegistry| Target(format!("{}/lab", registry.host()));
        self.registries.iter().map(target).collect()
    }

    fn item(&self, name: &str, word: &str) -> Item {
        let platform = Platform::new("linux", "amd64");
        let put = |kind: MediaType, bytes: &[u8]| {
            self.store.put_blob_bytes(bytes).unwrap();
            Descriptor::of(kind, bytes)
        };
        let layer = gzip(&LayerTar::new().file("word", word.as_bytes()).finish());
        let layer = put(MediaType::OciLayer(Compression::Gzip), &layer);
        let config = ImageConfig::new(&platform).to_json_bytes();
        let config = put(MediaType::OciConfig, &config);
        let bytes = Manifest::new(config.clone(), vec![layer.clone()]).to_json_bytes();
        let manifest = put(MediaType::OciManifest, &bytes);
        Item {
            image: GenerationImage {
                image: name.to_owned(),
                variant: None,
                platform,
                repository: name.to_owned(),
                manifest: manifest.clone(),
            },
            parcel: Parcel {
                manifest: Document {
                    descriptor: manifest,
                    bytes,
                },
                blobs: vec![layer, config],
            },
        }
    }

    /// Two images that say a word, sent everywhere, and the switch to them.
    fn prepared(&self, word: &str, tag: &str, now: i64) -> Switch {
        let items = ["one", "two"].map(|name| self.item(name, &format!("{word} {name}")));
        let means = self.means(now);
        let sending = send(means, &items, &self.targets()).unwrap();
        assert!(sending.failed.is_empty(), "{:?}", sending.failed);
        let images = items.iter().map(|item| item.image.clone()).collect();
        let generation = Generation::new(STACK, None, images);
        let entry = LogEntry {
            generation: generation.generation.clone(),
            action: Action::Publish,
            time: now,
            from: None,
        };
        let entries = vec![(tag.to_owned(), entry)];
        Switch::plan(means, generation, &self.targets(), entries).unwrap()
    }

    fn publish(&self, word: &str, tag: &str, now: i64) -> Generation {
        let switch = self.prepared(word, tag, now);
        switch.run(self.means(now)).unwrap();
        switch.generation
    }

    /// Which of the generations every tag means that can be read.
    #[track_caller]
    fn check(&self, registries: &[usize], tag: &str, expected: &Generation) {
        for &number in registries {
            for image in &expected.images {
                let host = self.registries[number].host();
                let name = format!("{host}/lab/{}:{tag}", image.repository);
                let name: Reference = name.parse().unwrap();
                let found = self.client.look_up(&name, Watch::NONE).unwrap();
                let digest = found.map(|found| found.digest);
                assert_eq!(digest.as_ref(), Some(&image.manifest.digest), "{name}");
            }
        }
    }
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
    let item = place.item("one", "never");
    let sending = send(place.means(2), &[item], &place.targets()).unwrap();
    assert_eq!(sending.complete.len(), 1);
    assert!(sending.failed[0].0.starts_with(place.registries[1].host()));

    // Away in the moment of the switch: the tags that were moved go back.
    place.registries[1].resume();
    let switch = place.prepared("second", "main", 3);
    assert_eq!(switch.moves.len(), 4);
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
    left.run(place.means(2)).unwrap();
    place.check(&[0, 1], "new", &switch.generation);
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
    let targets = place.targets();
    let promotion = plan_promotion(place.means(3), STACK, &targets, "main", "stable").unwrap();
    assert_eq!(promotion.before, None);
    promotion.switch.run(place.means(3)).unwrap();
    place.check(&[0, 1], "stable", &second);

    let back = plan_rollback(place.means(4), STACK, &targets, "main", None).unwrap();
    assert_eq!(back.before.as_ref(), Some(&second.generation));
    back.switch.run(place.means(4)).unwrap();
    place.check(&[0, 1], "main", &first);
    place.check(&[0, 1], "stable", &second);
    let further = plan_rollback(place.means(5), STACK, &targets, "main", None).unwrap_err();
    assert!(matches!(further, PublishError::Refused(_)), "{further:?}");
    let to = &second.generation[..6];
    let forth = plan_rollback(place.means(6), STACK, &targets, "main", Some(to)).unwrap();
    forth.switch.run(place.means(6)).unwrap();
    place.check(&[0, 1], "main", &second);

    for target in &targets {
        let ledger = Ledger::new(&target.0, STACK).unwrap();
        let yanked = std::slice::from_ref(&first.generation);
        ledger.put_yanked(place.means(7), yanked).unwrap();
    }
    let to = Some(first.generation.as_str());
    let refused = plan_rollback(place.means(8), STACK, &targets, "main", to).unwrap_err();
    assert!(refused.to_string().contains("was yanked"), "{refused:?}");
}
