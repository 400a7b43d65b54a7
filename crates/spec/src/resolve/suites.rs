//! Tests: what the levels say together, and suites with the services they name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Resolver;
use super::checks::distinct;
use super::merge::Merged;
use crate::settings::SuitePlace;
use crate::suggest::nearest;
use crate::suite::{Service, Suite, SuiteKind, Tests};
use crate::written::{
    Scalar, ServiceSection, Spanned, StringOrList, SuiteSection, Suites, TestsSection,
};

/// What a suite may take that says nothing.
const SUITE_TIMEOUT: Duration = Duration::from_mins(10);
/// What a service may take to be ready.
const SERVICE_TIMEOUT: Duration = Duration::from_mins(1);

type Scalars = Option<BTreeMap<String, Spanned<Scalar>>>;
type Services<'f> = BTreeMap<&'f str, &'f Spanned<ServiceSection>>;
type Kind = (SuiteKind, fn(&TestsSection) -> &Option<Suites>);

const KINDS: [Kind; 4] = [
    (SuiteKind::Basic, |tests| &tests.pytest),
    (SuiteKind::Integration, |tests| &tests.integration),
    (SuiteKind::Workflow, |tests| &tests.workflow),
    (SuiteKind::Manual, |tests| &tests.manual),
];

impl Resolver<'_> {
    pub(super) fn tests(&mut self, merged: &Merged<'_>) -> Tests {
        let written = merged.tests.iter().filter_map(|it| it.structure.as_ref());
        let structure = distinct(written.flat_map(|it| &it.0));
        for file in &structure {
            self.not_empty(file, "structure");
        }
        let services: Services<'_> = merged
            .tests
            .iter()
            .flat_map(|tests| tests.services.iter().flatten())
            .map(|(name, service)| (name.as_str(), service))
            .collect();
        let timeout = merged
            .tests
            .iter()
            .rev()
            .find_map(|it| it.timeout.as_ref())
            .and_then(|text| self.time(text));
        let mut suites: Vec<Suite> = Vec::new();
        for (kind, of) in KINDS {
            let sections = merged.tests.iter().filter_map(|it| of(it).as_ref());
            for section in sections.flat_map(|suites| &suites.0) {
                let Some(suite) = self.suite(kind, section, &services, timeout) else {
                    continue;
                };
                // Said again further in, a suite replaces that of its name.
                match suites
                    .iter_mut()
                    .find(|it| it.kind == kind && it.name == suite.name)
                {
                    Some(same) if same.path != suite.path => suites.push(self.apart(suite)),
                    Some(same) => *same = suite,
                    None => suites.push(suite),
                }
            }
        }
        Tests {
            structure,
            suites,
            timeout,
        }
    }

    /// A suite whose name another one of its kind has: by its whole path.
    fn apart(&mut self, mut suite: Suite) -> Suite {
        suite.name.clone_from(&suite.path.value);
        suite
    }

    fn suite(
        &mut self,
        kind: SuiteKind,
        section: &Spanned<SuiteSection>,
        services: &Services<'_>,
        timeout: Option<Duration>,
    ) -> Option<Suite> {
        let Some(path) = &section.path else {
            self.error(section.span, "a suite of tests needs a `path`");
            return None;
        };
        self.not_empty(path, "path");
        let place = section
            .on
            .as_ref()
            .and_then(|word| self.word(word, "on", SuitePlace::from_word, SuitePlace::WORDS));
        let place = place.unwrap_or(SuitePlace::Image);
        if place == SuitePlace::Host {
            let flags = [("read-only", &section.read_only), ("gpu", &section.gpu)];
            let spans = flags.map(|(key, flag)| (key, flag.as_ref().map(|it| it.span)));
            let user = ("user", section.user.as_ref().map(|it| it.span));
            for (key, span) in spans.into_iter().chain([user]) {
                if let Some(span) = span {
                    self.error(
                        span,
                        format!("`{key}` has no effect on a suite on the host"),
                    )
                    .hint("it is about the container that a suite in the image gets");
                }
            }
        }
        let named = section.services.iter().flatten();
        let named: Vec<Service> = named
            .filter_map(|name| self.service(name, services))
            .collect();
        let own = section.timeout.as_ref().and_then(|text| self.time(text));
        let last = path.trim_end_matches('/').rsplit('/').next();
        let name = section.name.as_ref().map(|name| name.value.clone());
        Some(Suite {
            kind,
            name: name.unwrap_or_else(|| last.unwrap_or_default().to_owned()),
            path: path.clone(),
            place,
            command: words(&section.command),
            args: section.args.iter().flatten().map(text).collect(),
            python_path: section.python_path.clone().unwrap_or_default().0,
            env: variables(&section.env),
            services: named,
            user: section.user.as_ref().map(text),
            read_only: section.read_only.as_ref().is_some_and(|it| it.value),
            gpu: section.gpu.as_ref().is_some_and(|it| it.value),
            timeout: own.or(timeout).unwrap_or(SUITE_TIMEOUT),
        })
    }

    fn service(&mut self, name: &Spanned<String>, services: &Services<'_>) -> Option<Service> {
        let Some(section) = services.get(name.as_str()) else {
            let near = nearest(name, services.keys().copied());
            let text = format!("there is no service `{}` here", name.value);
            let finding = self.error(name.span, text);
            match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("define it: `tests.services.{}`", name.value)),
            }
            return None;
        };
        let port = section.port.as_ref().and_then(|port| {
            let number = u16::try_from(port.value).ok().filter(|it| *it > 0);
            if number.is_none() {
                self.error(port.span, "a port is a number from 1 to 65535");
            }
            number
        });
        let timeout = section.timeout.as_ref().and_then(|text| self.time(text));
        Some(Service {
            name: name.value.clone(),
            image: section.image.clone(),
            command: words(&section.command),
            env: variables(&section.env),
            port,
            log: section.log.as_ref().map(text),
            ready: words(&section.ready),
            timeout: timeout.unwrap_or(SERVICE_TIMEOUT),
        })
    }

    /// A time as `90s`, `10m` or `2h`.
    fn time(&mut self, written: &Spanned<String>) -> Option<Duration> {
        let read = |(unit, seconds): (char, u64)| {
            let number = written.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
            number.checked_mul(seconds).filter(|it| *it > 0)
        };
        let seconds = [('s', 1), ('m', 60), ('h', 3600)]
            .into_iter()
            .find_map(read);
        if seconds.is_none() {
            self.error(written.span, format!("`{}` is not a time", written.value))
                .hint("times are written `90s`, `10m` or `2h`");
        }
        seconds.map(Duration::from_secs)
    }
}

fn words(written: &Option<StringOrList>) -> Vec<String> {
    written.iter().flat_map(|it| &it.0).map(text).collect()
}

fn text(written: &Spanned<String>) -> String {
    written.value.clone()
}

fn variables(written: &Scalars) -> BTreeMap<String, String> {
    let written = written.iter().flatten();
    written
        .map(|(name, value)| (name.clone(), value.0.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use cairn_diagnostic::{Source, render};

    use crate::{Stack, Surroundings, read};

    fn spec(text: &str) -> Result<Stack, String> {
        let text = format!("[stack]\nname = \"lab\"\n{text}");
        read(&Source::new("cairn.toml", text), &Surroundings::none())
            .map_err(|findings| findings.iter().map(render).collect())
    }

    /// DH-54 to DH-58: every kind, inherited from `[defaults]` (DH-55), a variant's added.
    #[test]
    fn suites_are_inherited_and_said_again() {
        let stack = spec(
            r#"
            [defaults.tests]
            pytest = "tests_common"
            timeout = "5m"
            [image.a]
            context = "a"
            [image.a.tests]
            pytest = ["a/test", { path = "tests_common", user = "random" }]
            integration = { path = "a/ui", on = "host", timeout = "1h" }
            workflow = [{ path = "a/gpu", gpu = true, name = "smoke" }]
            manual = "a/manual_tests"
            [image.b]
            context = "b"
            tests.pytest = "b/test"
            "#,
        );
        let stack = stack.unwrap_or_else(|text| panic!("{text}"));
        let told = |image: usize| -> Vec<String> {
            let suites = stack.images[image].tests.suites.iter();
            let told = suites.map(|suite| {
                let user = suite.user.as_deref().unwrap_or("-");
                let minutes = suite.timeout.as_secs() / 60;
                format!(
                    "{} {} {user} {} {minutes}",
                    suite.kind, suite.name, suite.place
                )
            });
            told.collect()
        };
        assert_eq!(
            told(0),
            [
                "basic tests_common random image 5",
                "basic test - image 5",
                "integration ui - host 60",
                "workflow smoke - image 5",
                "manual manual_tests - image 5",
            ]
        );
        assert_eq!(
            told(1),
            ["basic tests_common - image 5", "basic test - image 5"]
        );
    }

    #[test]
    fn suites_of_one_name_are_told_apart_by_their_paths() {
        let stack = spec("[image.a]\ncontext = \"a\"\ntests.pytest = [\"x/test\", \"y/test\"]\n");
        let names: Vec<String> = stack.unwrap().images[0]
            .tests
            .suites
            .iter()
            .map(|it| it.name.clone())
            .collect();
        assert_eq!(names, ["test", "y/test"]);
    }

    /// PAN-20: a service has a name, a sign that it is ready, and a time.
    #[test]
    fn services_are_found_by_name() {
        let stack = spec(
            r#"
            [image.a]
            context = "a"
            [image.a.tests]
            services.config = { command = "serve --port 6563", port = 6563, timeout = "30s" }
            pytest = { path = "t", services = ["config"], command = ["sh", "run.sh"] }
            "#,
        );
        let stack = stack.unwrap_or_else(|text| panic!("{text}"));
        let suite = &stack.images[0].tests.suites[0];
        assert_eq!(suite.command, ["sh", "run.sh"]);
        let service = &suite.services[0];
        assert_eq!(service.command, ["/bin/sh", "-c", "serve --port 6563"]);
        assert_eq!((service.port, service.timeout.as_secs()), (Some(6563), 30));
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let wrong = |tests: &str, told: &str| {
            let text = format!("[image.a]\ncontext = \"a\"\n[image.a.tests]\n{tests}\n");
            let said = spec(&text).expect_err(tests);
            assert!(said.contains(told), "{tests}: {said}");
        };
        wrong("pytest = {}", "needs a `path`");
        wrong(
            "pytest = { path = \"t\", timeout = \"10\" }",
            "is not a time",
        );
        wrong("timeout = \"0s\"", "is not a time");
        wrong(
            "pytest = { path = \"t\", on = \"hots\" }",
            "did you mean `host`?",
        );
        wrong(
            "pytest = { path = \"t\", services = [\"confg\"] }\nservices.config = {}",
            "did you mean `config`?",
        );
        wrong(
            "services.a.port = 70000\npytest = { path = \"t\", services = [\"a\"] }",
            "65535",
        );
        wrong(
            "pytest = { path = \"t\", on = \"host\", user = \"random\" }",
            "no effect",
        );
        wrong(
            "pytest = 3",
            "a path, a table with `path`, or a list of them",
        );
        wrong("pytest = { pth = \"t\" }", "did you mean `path`?");
    }
}
