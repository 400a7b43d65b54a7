//! `--call subrequests.describe`: which questions a Dockerfile answers.

use serde::Serialize;

use super::table::table;

/// A question, in BuildKit's form.
#[derive(Debug, Clone, Serialize)]
pub struct Described {
    name: &'static str,
    version: &'static str,
    r#type: &'static str,
    description: &'static str,
    opts: &'static [Named],
    metadata: &'static [Named],
}

#[derive(Debug, Clone, Serialize)]
struct Named {
    name: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
}

const fn named(name: &'static str) -> Named {
    Named {
        name,
        description: "",
    }
}

const TARGET: &[Named] = &[Named {
    name: "target",
    description: "Target build stage",
}];
const RESULT: &[Named] = &[named("result.json"), named("result.txt")];

/// All questions.
pub fn requests() -> [Described; 4] {
    let rpc = |name, description, opts| Described {
        name,
        version: "1.0.0",
        r#type: "rpc",
        description,
        opts,
        metadata: RESULT,
    };
    [
        rpc(
            "frontend.outline",
            "List all parameters current build target supports",
            TARGET,
        ),
        rpc(
            "frontend.targets",
            "List all targets current build supports",
            &[],
        ),
        rpc("frontend.lint", "Lint a Dockerfile", &[]),
        rpc(
            "frontend.subrequests.describe",
            "List available subrequest types",
            &[],
        ),
    ]
}

/// A table for people.
pub fn table_of_requests() -> String {
    let requests = requests();
    let rows = requests.iter().map(|request| {
        let name = request.name.trim_start_matches("frontend.");
        vec![name, request.version, request.description]
    });
    let heading = vec!["NAME", "VERSION", "DESCRIPTION"];
    table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::super::Call;
    use super::*;

    #[test]
    fn every_question_that_is_listed_is_answered() {
        for request in requests() {
            assert!(Call::parse(request.name).is_ok(), "{}", request.name);
        }
        assert!(table_of_requests().contains("\noutline                1.0.0     List all"));
    }
}
