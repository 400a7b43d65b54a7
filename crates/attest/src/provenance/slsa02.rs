//! SLSA provenance v0.2, as BuildKit fills it in.

use cairn_oci::Descriptor;
use serde_json::{Value, json};

use super::Provenance;

const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";
const METADATA: &str = "https://mobyproject.org/buildkit@v1#metadata";
const HERMETIC: &str = "https://mobyproject.org/buildkit@v1#hermetic";

pub(super) fn predicate(it: &Provenance, layers: &[Descriptor]) -> Value {
    let mut metadata = json!({
        "buildInvocationID": it.invocation_id,
        "buildStartedOn": it.started,
        "buildFinishedOn": it.finished,
        "completeness": {
            "parameters": it.request_complete,
            "environment": true,
            "materials": it.materials_complete,
        },
        "reproducible": it.reproducible,
        METADATA: it.metadata(layers),
    });
    if it.hermetic {
        metadata[HERMETIC] = true.into();
    }
    let mut predicate = json!({
        "builder": { "id": it.builder_id },
        "buildType": BUILD_TYPE,
        "materials": it.materials(),
        "invocation": {
            "configSource": it.config_source.to_json("entryPoint"),
            "parameters": it.request.to_json(),
            "environment": { "platform": it.builder_platform },
        },
    });
    if let Some(detail) = &it.detail {
        predicate["buildConfig"] = detail.build_config();
    }
    predicate["metadata"] = metadata;
    predicate
}
