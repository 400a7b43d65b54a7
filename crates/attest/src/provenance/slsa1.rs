//! SLSA provenance v1, as BuildKit fills it in.

use cairn_oci::Descriptor;
use serde_json::{Value, json};

use super::Provenance;

/// What the fields below `buildDefinition` mean is told there.
const BUILD_TYPE: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

pub(super) fn predicate(it: &Provenance, layers: &[Descriptor]) -> Value {
    let mut internal = json!({ "builderPlatform": it.builder_platform });
    if let Some(detail) = &it.detail {
        internal["buildConfig"] = detail.build_config();
    }
    let mut metadata = json!({
        "invocationID": it.invocation_id,
        "startedOn": it.started,
        "finishedOn": it.finished,
        "buildkit_metadata": it.metadata(layers),
        "buildkit_completeness": {
            "request": it.request_complete,
            "resolvedDependencies": it.materials_complete,
        },
    });
    if it.hermetic {
        metadata["buildkit_hermetic"] = true.into();
    }
    if it.reproducible {
        metadata["buildkit_reproducible"] = true.into();
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "configSource": it.config_source.to_json("path"),
                "request": it.request.to_json(),
            },
            "internalParameters": internal,
            "resolvedDependencies": it.materials(),
        },
        "runDetails": {
            "builder": { "id": it.builder_id },
            "metadata": metadata,
        },
    })
}
