//! The JSON Schema of the spec file, for editors and for `cairn schema`.

use schemars::generate::SchemaSettings;

use crate::written::SpecFile;

/// Where the schema says it lives; nothing is fetched from there.
const ID: &str = "https://cairn.invalid/schema/cairn.toml.json";

/// The JSON Schema (2020-12) of `cairn.toml`.
pub fn schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<SpecFile>();
    schema.insert("$id".to_owned(), ID.into());
    schema.insert("title".to_owned(), crate::FILE_NAME.into());
    schema.insert("required".to_owned(), serde_json::json!(["stack", "image"]));
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::written::SHAPES;

    /// Judges by the part of JSON Schema that the schema uses, and by nothing else.
    fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
        let Some(schema) = schema.as_object() else {
            return schema != &Value::Bool(false);
        };
        schema.iter().all(|(key, rule)| match key.as_str() {
            "$ref" => {
                let pointer = rule.as_str().and_then(|it| it.strip_prefix('#'));
                accepts(root, root.pointer(pointer.unwrap()).unwrap(), value)
            }
            "anyOf" | "oneOf" => {
                let rules = rule.as_array().unwrap();
                rules.iter().any(|rule| accepts(root, rule, value))
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|it| has_type(value, it)),
                one => has_type(value, one),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_i64().is_none_or(|it| Some(it) >= rule.as_i64()),
            "maximum" => value.as_i64().is_none_or(|it| Some(it) <= rule.as_i64()),
            "items" => {
                let mut items = value.as_array().into_iter().flatten();
                items.all(|item| accepts(root, rule, item))
            }
            "required" => value.as_object().is_none_or(|object| {
                let mut keys = rule.as_array().unwrap().iter();
                keys.all(|key| object.contains_key(key.as_str().unwrap()))
            }),
            "properties" | "additionalProperties" => value.as_object().is_none_or(|object| {
                let known = schema.get("properties");
                object.iter().all(|(name, item)| {
                    match (known.and_then(|known| known.get(name)), key.as_str()) {
                        (Some(rule), "properties") => accepts(root, rule, item),
                        (None, "additionalProperties") => accepts(root, rule, item),
                        _ => true,
                    }
                })
            }),
            "$schema" | "$id" | "title" | "description" | "$defs" | "format" | "default" => true,
            other => panic!("the judge does not know `{other}`"),
        })
    }

    fn has_type(value: &Value, wanted: &Value) -> bool {
        match wanted.as_str().unwrap() {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => panic!("the judge does not know the type `{other}`"),
        }
    }

    fn judge(text: &str) -> bool {
        let value: toml::Value = toml::from_str(text).unwrap();
        let root = schema();
        accepts(&root, &root, &serde_json::to_value(value).unwrap())
    }

    const GOOD: &str = r#"
        lock = "strict"
        include = []
        [stack]
        name = "lab"
        registries = ["ghcr.io/lab"]
        platforms = ["linux/amd64"]
        epoch = 0
        [variables]
        ref = { env = "REF", default = "main" }
        [tags]
        prefix = "{year}.{quarter}"
        pull-request = []
        [promote]
        "{prefix}-stable" = { from = "{prefix}-{branch}" }
        stable = { from = ["{prefix}-stable"], tests = true }
        [retention]
        keep = ["v{version}"]
        generations = 3
        days = 30
        branches = true
        delay-days = 7
        cache-days = 14
        cache-gigabytes = 5
        [verify]
        "ghcr.io/lab" = { keys = ["lab.pub"] }
        [sign]
        key = "lab.key"
        form = "bundle"
        when = ["release", "main"]
        registries = "ghcr.io/lab"
        [changes]
        ignore = ["docs"]
        [defaults]
        rebuild = "changed"
        platforms = ["linux/amd64", { platform = "linux/arm64", when = "release" }]
        [env.test]
        tags.branch = ["x"]
        [build]
        ca = "host"
        network = "none"
        jobs = 2
        cache-from = ["ghcr.io/lab/cache:main"]
        [lint]
        UndefinedVar = "error"
        [image.base]
        debian = { suite = "bookworm", packages = ["python3"], variant = "minbase", mirror = ["http://a"] }
        internal = true
        [image.ml]
        context = "images/ml"
        args = { A = "x", B = 1, C = 1.5, D = true }
        labels = { a = "b" }
        names = { "ghcr.io/lab" = "ml-platform" }
        on."linux/arm64" = { args = { A = "arm" } }
        [image.ml.tests]
        pytest = ["test", { path = "more", on = "host", command = "true", env = { A = 1 } }]
        integration = { path = "ui", services = ["db"], read-only = true, timeout = "5m" }
        workflow = "gpu"
        services.db = { image = "base", command = ["serve"], port = 80, ready = "true" }
        [image.r.matrix]
        exclude = [{ r = "4.3", system = ["noble"] }]
        r = ["4.3", "4.4"]
        system.jammy = { args = { U = "22.04" }, suffix = "" }
        system.noble = {}
        [image.r]
        context = "r"
        [image.ml.variant.cpu]
        [image.ml.variant.gpu]
        tests = { structure = ["a", "b"] }
    "#;

    #[test]
    fn the_schema_accepts_what_the_parser_accepts() {
        assert!(judge(GOOD));
        let source = cairn_diagnostic::Source::new("cairn.toml", GOOD);
        let read = crate::read(&source, &crate::Surroundings::none());
        assert_eq!(read.err(), None);
    }

    #[test]
    fn the_schema_refuses_what_the_parser_refuses() {
        let changes = [
            ("internal = true", "internal = 1"),
            ("internal = true", "intrenal = true"),
            ("network = \"none\"", "network = \"bridge\""),
            ("jobs = 2", "jobs = 0"),
            ("epoch = 0", "epoch = -1"),
            ("lock = \"strict\"", "lock = { polcy = \"strict\" }"),
            ("lock = \"strict\"", "lock = \"lax\""),
            ("name = \"lab\"", ""),
            ("variant = \"minbase\"", "variant = \"mini\""),
            ("mirror = [\"http://a\"]", "mirror = [1]"),
            ("A = \"x\"", "A = []"),
            ("[build]", "[biuld]"),
            ("UndefinedVar = \"error\"", "UndefinedVar = \"loud\""),
            ("[image.ml.variant.gpu]", "[image.ml.variant.gpu.more]"),
            ("when = \"release\"", "wen = \"release\""),
            ("rebuild = \"changed\"", "rebuild = \"sometimes\""),
            ("pull-request = []", "pull-requests = []"),
            ("tags.branch", "tag.branch"),
            ("tests = true }", "tests = \"some\" }"),
            ("from = \"{prefix}-{branch}\"", "form = \"x\""),
            ("env = \"REF\"", "evn = \"REF\""),
            ("r = [\"4.3\", \"4.4\"]", "r = \"4.3\""),
            ("system.noble = {}", "system.noble = { sufix = \"\" }"),
            ("names = {", "names = 3 #"),
            ("ignore = [\"docs\"]", "ignore = \"docs\""),
            ("on = \"host\"", "on = \"hosts\""),
            ("path = \"more\"", "paht = \"more\""),
            ("workflow = \"gpu\"", "workflow = 1"),
            ("port = 80", "port = 0"),
        ];
        for (from, to) in changes {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            assert!(!judge(&text), "the schema accepts {to}");
            let source = cairn_diagnostic::Source::new("cairn.toml", text.as_str());
            assert!(
                crate::read(&source, &crate::Surroundings::none()).is_err(),
                "the parser accepts {to}"
            );
        }
    }

    #[test]
    fn the_parser_and_the_schema_know_the_same_keys() {
        let schema = schema();
        for shape in SHAPES {
            let table = match (shape.definition, shape.name) {
                (Some(name), _) => &schema["$defs"][name],
                (None, "the file") => &schema,
                (None, _) => &schema["$defs"]["LockSection"]["anyOf"][1],
            };
            let properties = table["properties"].as_object();
            let properties = properties.unwrap_or_else(|| panic!("{}: {table}", shape.name));
            let known: BTreeSet<&str> = shape.keys.iter().copied().collect();
            let written: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
            assert_eq!(known, written, "{}", shape.name);
            assert_eq!(table["additionalProperties"], false, "{}", shape.name);
        }
    }

    #[test]
    fn every_key_is_described() {
        let schema = schema();
        let tables = schema["$defs"].as_object().into_iter().flatten();
        for (name, table) in tables.filter(|(name, _)| *name != "LockSection") {
            for (key, property) in table["properties"].as_object().into_iter().flatten() {
                assert!(property["description"].is_string(), "{name}.{key}");
            }
        }
    }
}
