//! What a run needs beside its graph, made from settings and flags.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use cairn_build::cache::CacheSource;
use cairn_build::engine::{Leaving, Settings as EngineSettings};
use cairn_build::event::EventSink;
use cairn_build::image::bases::Bases;
use cairn_build::image::external::{Externals, PullFailures, PullPolicy};
use cairn_build::image::trust::Trust;
use cairn_diagnostic::Diagnostic;
use cairn_oci::Platform;
use cairn_registry::{FetchOptions, Fetcher, Logins, Proxies, RegistryClient};
use cairn_sandbox::{Cancel, Resolver, interrupt};
use cairn_store::Store;

use crate::commands::devices;
use crate::commands::options::{BuildOptions, Entitlement};
use crate::error::{CommandError, Kind};
use crate::printer::Printer;
use crate::registries;
use crate::session::Session;

/// Size of `/dev/shm` in steps, as docker has it.
const SHM_BYTES: u64 = 64 << 20;

/// The means of a run. Its fields are public: a command changes what its flags say.
pub struct Means {
    /// The store.
    pub store: Store,
    /// How to build.
    pub settings: EngineSettings,
    /// How files come from the network.
    pub fetcher: Fetcher,
    /// How images come from registries.
    pub registry: RegistryClient,
    /// Whether registries are asked.
    pub pull: PullPolicy,
    /// What could not be pulled.
    pub pull_failures: PullFailures,
    /// Which images from outside must be signed.
    pub trust: Trust,
    /// Images from outside whose files need not be here.
    pub bases: Arc<Bases>,
    /// Whether files of them are fetched to know what is in them: not where nothing will run.
    pub fetches: bool,
    /// Made by Ctrl-C.
    pub cancel: Cancel,
}

impl Means {
    /// Opens the store and collects the rest. Conditions as for [`Session::open_store`].
    pub fn new(session: &Session, options: &BuildOptions) -> Result<Self, CommandError> {
        Self::over(session.open_store()?, session, options)
    }

    /// Collects what a run over this store needs.
    pub fn over(
        store: Store,
        session: &Session,
        options: &BuildOptions,
    ) -> Result<Self, CommandError> {
        let cancel = Cancel::new();
        interrupt::cancel_on_signals(&cancel)?;
        let mut settings = EngineSettings {
            jobs: options.jobs.map_or_else(cpus, NonZeroUsize::get),
            fail_fast: options.fail_fast,
            no_cache: options.no_cache,
            cache_from: Vec::new(),
            only_looks: false,
            leaving: Leaving::default(),
            inline_cache: false,
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            proxies: session.settings.proxies(),
            hosts: Vec::new(),
            resolver: Resolver::Host,
            groups: Vec::new(),
            no_new_privileges: false,
            volumes: Vec::new(),
            ca: session.host_certificates(),
            scratch: session.scratch(&store)?,
            step_timeout: None,
            ulimits: Vec::new(),
            memory_max: None,
            cgroup_parent: None,
            allow_insecure: options.allow.contains(&Entitlement::SecurityInsecure),
            devices: Arc::new(devices::known(devices::allowed(&options.allow))),
            shm_bytes: SHM_BYTES,
            run: run_name(),
        };
        let http = fetch_options(session);
        let registry = registries::client(&session.settings.environment, http.clone())?;
        let bases = (!options.offline).then(|| registry.clone());
        let bases = Arc::new(Bases::new(bases));
        settings
            .cache_from
            .push(CacheSource::Bases(Arc::clone(&bases)));
        Ok(Self {
            store,
            settings,
            registry,
            fetcher: Fetcher::new(FetchOptions {
                offline: options.offline,
                ..http
            }),
            pull: match (options.pull, options.offline || options.pull_never) {
                (true, _) => PullPolicy::Always,
                (_, true) => PullPolicy::Never,
                _ => PullPolicy::Missing,
            },
            pull_failures: PullFailures::default(),
            trust: Trust::default(),
            bases,
            fetches: true,
            cancel,
        })
    }

    /// Takes the values of secrets: steps may ask for them, nothing printed shows them, and some are
    /// logins at hosts.
    pub fn take_secrets(&mut self, secrets: BTreeMap<String, Vec<u8>>, printer: &Printer) {
        printer.hide(secrets.values().map(Vec::as_slice));
        self.fetcher = self.fetcher.with_logins(Logins::of_secrets(&secrets));
        self.settings.secrets = secrets;
    }

    /// The images from outside a run for this platform.
    pub fn externals<'a>(
        &'a self,
        platform: &'a Platform,
        events: &'a dyn EventSink,
    ) -> Externals<'a> {
        Externals {
            store: &self.store,
            client: &self.registry,
            platform,
            policy: self.pull,
            cancel: &self.cancel,
            events,
            failures: &self.pull_failures,
            trust: &self.trust,
            bases: &self.bases,
            caches: &self.settings.cache_from,
            fetches: self.fetches,
        }
    }

    /// The end of a run that could not begin because of what its Dockerfiles say or need.
    pub fn unprepared(&self, findings: Vec<Diagnostic>) -> CommandError {
        let kind = match self.pull_failures.has_trouble() {
            true => Kind::Environment,
            false => Kind::Usage,
        };
        match self.cancel.is_cancelled() {
            true => CommandError::interrupted(),
            false => CommandError::from_findings(kind, findings),
        }
    }

    /// Ends a run: what was built outlives a power cut from here on.
    pub fn make_durable(&self) -> Result<(), CommandError> {
        Ok(self.store.make_durable(&[])?)
    }
}

/// How files come from the network: by the proxies and certificates of the environment.
pub fn fetch_options(session: &Session) -> FetchOptions {
    let environment = &session.settings.environment;
    let variable = |name: &str| {
        let lower = environment.text(name);
        let upper = name.to_ascii_uppercase();
        // `HTTP_PROXY` may have come in with a request of a web server: only CGI sets
        // `REQUEST_METHOD`, and the convention is to distrust the variable there.
        let is_trusted = name != "http_proxy" || environment.raw("REQUEST_METHOD").is_none();
        lower
            .or_else(|| environment.text(&upper).filter(|_| is_trusted))
            .map(str::to_owned)
    };
    FetchOptions {
        user_agent: concat!("cairn/", env!("CARGO_PKG_VERSION")).to_owned(),
        proxies: Proxies {
            http: variable("http_proxy"),
            https: variable("https_proxy"),
            all: variable("all_proxy"),
            exceptions: variable("no_proxy"),
        },
        extra_certificates: environment
            .absolute_path("SSL_CERT_FILE")
            .into_iter()
            .collect(),
        ..FetchOptions::default()
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Names a run so that names sort by time and two runs of one second differ.
fn run_name() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    format!("{now}-{}", std::process::id())
}
