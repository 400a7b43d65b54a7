//! The schemas of values that may be written in more than one shape.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    AxisSection, LockSection, MatrixSection, NamesSection, PlatformEntry, Scalar, StringOrList,
    SuiteSection, Suites, VariableSection, VariantSection,
};

impl JsonSchema for LockSection {
    fn schema_name() -> Cow<'static, str> {
        "LockSection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let policy = generator.subschema_for::<crate::LockPolicy>();
        json_schema!({
            "description": "What happens when a locked package has disappeared.",
            "anyOf": [
                policy,
                {
                    "type": "object",
                    "properties": { "policy": policy },
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// The table that may be written in place of a variable's default.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "a schema, not a value")]
struct VariableTable {
    /// The environment variable that gives the value.
    env: Option<String>,
    /// The value where nobody says another.
    default: Option<Scalar>,
}

impl JsonSchema for VariableSection {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "VariableSection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let scalar = generator.subschema_for::<Scalar>();
        let table = generator.subschema_for::<VariableTable>();
        json_schema!({ "anyOf": [scalar, table] })
    }
}

/// The table that may be written in place of a platform.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "a schema, not a value")]
struct PlatformTable {
    /// The platform, as in `linux/arm64`.
    #[schemars(required)]
    platform: Option<String>,
    /// The events that build for it: `branch`, `main`, `release`, `prerelease`, `pull-request`,
    /// `schedule`, `manual`.
    when: Option<StringOrList>,
}

impl JsonSchema for PlatformEntry {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PlatformEntry".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<PlatformTable>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

impl JsonSchema for NamesSection {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NamesSection".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "object", "additionalProperties": { "type": "string" } }
            ]
        })
    }
}

impl JsonSchema for Suites {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Suites".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let suite = generator.subschema_for::<SuiteSection>();
        let one = json_schema!({ "anyOf": [{ "type": "string" }, suite] });
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl JsonSchema for MatrixSection {
    fn schema_name() -> Cow<'static, str> {
        "MatrixSection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let scalar = generator.subschema_for::<Scalar>();
        let axis = generator.subschema_for::<AxisSection>();
        json_schema!({
            "description": "Axes whose values are combined, and the combinations that are left out.",
            "type": "object",
            "properties": {
                "exclude": {
                    "description": "Combinations that are not made: for each axis that is named, one value or several; `platform` leaves one platform of them out.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": {
                            "anyOf": [scalar, { "type": "array", "items": scalar }]
                        }
                    }
                }
            },
            "additionalProperties": axis
        })
    }
}

impl JsonSchema for AxisSection {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AxisSection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let scalar = generator.subschema_for::<Scalar>();
        let value = generator.subschema_for::<VariantSection>();
        json_schema!({
            "anyOf": [
                { "type": "array", "items": scalar },
                { "type": "object", "additionalProperties": value }
            ]
        })
    }
}
