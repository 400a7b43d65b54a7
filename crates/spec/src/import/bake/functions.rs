//! The functions that bake files call: those about texts, lists and choices. What asks the machine
//! or the clock has no answer here, and is told as such.

use std::collections::BTreeSet;

use hcl::Value;
use hcl::eval::{Context, FuncArgs, FuncDef, ParamType};

type Function = fn(FuncArgs) -> Result<Value, String>;

const FUNCTIONS: &[(&str, Function)] = &[
    ("absolute", |args| Ok(number_of(float(&args, 0)?.abs()))),
    ("add", |args| {
        Ok(number_of(float(&args, 0)? + float(&args, 1)?))
    }),
    ("and", |args| Ok(args.iter().all(is_true).into())),
    ("basename", |args| {
        let path = text(&args, 0)?;
        Ok(path.rsplit('/').next().unwrap_or_default().into())
    }),
    ("ceil", |args| rounded(&args, f64::ceil)),
    ("chomp", |args| {
        Ok(text(&args, 0)?.trim_end_matches(['\n', '\r']).into())
    }),
    ("coalesce", |args| {
        let is_something = |it: &&Value| !it.is_null() && it.as_str() != Some("");
        args.iter()
            .find(is_something)
            .cloned()
            .ok_or_else(|| "no value".to_owned())
    }),
    ("coalescelist", |args| {
        let is_something = |it: &&Value| it.as_array().is_some_and(|list| !list.is_empty());
        args.iter()
            .find(is_something)
            .cloned()
            .ok_or_else(|| "no list has anything".to_owned())
    }),
    ("compact", |args| {
        let list = list(&args, 0)?.into_iter();
        Ok(list
            .filter(|it| it.as_str() != Some("") && !it.is_null())
            .collect())
    }),
    ("concat", |args| {
        let lists: Result<Vec<Vec<Value>>, String> =
            (0..args.len()).map(|at| list(&args, at)).collect();
        Ok(lists?.concat().into())
    }),
    ("contains", |args| {
        Ok(list(&args, 0)?.contains(given(&args, 1)?).into())
    }),
    ("dirname", |args| {
        let path = text(&args, 0)?;
        Ok(path.rsplit_once('/').map_or(".", |(above, _)| above).into())
    }),
    ("distinct", |args| {
        let mut seen = BTreeSet::new();
        let list = list(&args, 0)?.into_iter();
        Ok(list.filter(|it| seen.insert(it.to_string())).collect())
    }),
    ("divide", |args| {
        let by = float(&args, 1)?;
        match by == 0.0 {
            true => Err("it divides by zero".to_owned()),
            false => Ok(number_of(float(&args, 0)? / by)),
        }
    }),
    ("element", |args| {
        let list = list(&args, 0)?;
        let at = number(&args, 1)?;
        let at = at.checked_rem(list.len()).ok_or("the list is empty")?;
        Ok(list[at].clone())
    }),
    ("equal", |args| {
        Ok((given(&args, 0)? == given(&args, 1)?).into())
    }),
    ("flatten", |args| {
        let list = list(&args, 0)?.into_iter();
        Ok(list
            .flat_map(|it| it.as_array().cloned().unwrap_or_else(|| vec![it]))
            .collect())
    }),
    ("floor", |args| rounded(&args, f64::floor)),
    ("format", |args| {
        formatted(&text(&args, 0)?, &args[1..]).map(Value::from)
    }),
    ("formatlist", |args| {
        let count = args
            .iter()
            .filter_map(Value::as_array)
            .map(Vec::len)
            .max()
            .unwrap_or(1);
        let format = |at: usize| {
            let of = |it: &Value| it.as_array().map_or(Some(it), |list| list.get(at)).cloned();
            let args: Vec<Value> = args.iter().filter_map(of).collect();
            let format = args
                .first()
                .and_then(Value::as_str)
                .ok_or("the format is no text")?;
            formatted(format, &args[1..]).map(Value::from)
        };
        (0..count)
            .map(format)
            .collect::<Result<Vec<Value>, String>>()
            .map(Value::from)
    }),
    ("greaterthan", |args| {
        Ok((float(&args, 0)? > float(&args, 1)?).into())
    }),
    ("greaterthanorequalto", |args| {
        Ok((float(&args, 0)? >= float(&args, 1)?).into())
    }),
    ("hasindex", |args| Ok(found(&args).is_some().into())),
    ("indent", |args| {
        let (blanks, text) = (number(&args, 0)?, text(&args, 1)?);
        let blanks = " ".repeat(blanks.min(TEXT_MAX));
        replaced(&text, "\n", &format!("\n{blanks}"))
    }),
    ("index", |args| {
        found(&args).ok_or_else(|| "there is no such element".to_owned())
    }),
    ("int", |args| rounded(&args, f64::trunc)),
    ("join", |args| {
        let list = list(&args, 1)?;
        let words: Vec<String> = list.iter().map(plain).collect();
        let between = text(&args, 0)?;
        let own: usize = words.iter().map(String::len).sum();
        let length = between.len().checked_mul(words.len());
        fits(length.and_then(|it| it.checked_add(own)))?;
        Ok(words.join(&between).into())
    }),
    ("jsonencode", |args| {
        let made = serde_json::to_string(given(&args, 0)?).map_err(|error| error.to_string())?;
        fits(Some(made.len()))?;
        Ok(made.into())
    }),
    ("keys", |args| {
        let table = given(&args, 0)?.as_object().ok_or("it is no object")?;
        let mut keys: Vec<&String> = table.keys().collect();
        keys.sort();
        Ok(keys
            .into_iter()
            .map(|key| Value::from(key.as_str()))
            .collect())
    }),
    ("length", |args| {
        let value = given(&args, 0)?;
        let of_list = value.as_array().map(Vec::len);
        let of_table = || value.as_object().map(hcl::Map::len);
        Ok(of_list.or_else(of_table).ok_or("it has no length")?.into())
    }),
    ("lessthan", |args| {
        Ok((float(&args, 0)? < float(&args, 1)?).into())
    }),
    ("lessthanorequalto", |args| {
        Ok((float(&args, 0)? <= float(&args, 1)?).into())
    }),
    ("lookup", |args| {
        let table = given(&args, 0)?.as_object().ok_or("it is no object")?;
        let found = table.get(&text(&args, 1)?).cloned();
        found
            .or_else(|| args.get(2).cloned())
            .ok_or_else(|| "there is no such key".to_owned())
    }),
    ("lower", |args| Ok(text(&args, 0)?.to_lowercase().into())),
    ("max", |args| {
        Ok(numbers(&args)?.into_iter().fold(f64::MIN, f64::max).into())
    }),
    ("merge", |args| {
        let tables = args.iter().filter_map(Value::as_object).cloned();
        Ok(Value::from(
            tables.flatten().collect::<hcl::Map<String, Value>>(),
        ))
    }),
    ("min", |args| {
        Ok(numbers(&args)?.into_iter().fold(f64::MAX, f64::min).into())
    }),
    ("modulo", |args| {
        let by = float(&args, 1)?;
        match by == 0.0 {
            true => Err("it divides by zero".to_owned()),
            false => Ok(number_of(float(&args, 0)? % by)),
        }
    }),
    ("multiply", |args| {
        Ok(number_of(float(&args, 0)? * float(&args, 1)?))
    }),
    ("negate", |args| Ok(number_of(-float(&args, 0)?))),
    ("not", |args| Ok((!is_true(given(&args, 0)?)).into())),
    ("notequal", |args| {
        Ok((given(&args, 0)? != given(&args, 1)?).into())
    }),
    ("or", |args| Ok(args.iter().any(is_true).into())),
    ("range", |args| {
        let (from, to) = match args.len() {
            1 => (0, number(&args, 0)?),
            _ => (number(&args, 0)?, number(&args, 1)?),
        };
        let to = to.min(from.saturating_add(RANGE_MAX));
        Ok((from..to).map(Value::from).collect())
    }),
    ("replace", |args| {
        replaced(&text(&args, 0)?, &text(&args, 1)?, &text(&args, 2)?)
    }),
    ("reverse", |args| {
        Ok(text(&args, 0)?.chars().rev().collect::<String>().into())
    }),
    ("reverselist", |args| {
        Ok(list(&args, 0)?.into_iter().rev().collect())
    }),
    ("sanitize", |args| {
        let fit = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '_'
            }
        };
        Ok(text(&args, 0)?.chars().map(fit).collect::<String>().into())
    }),
    ("slice", |args| {
        let list = list(&args, 0)?;
        let (from, to) = (number(&args, 1)?, number(&args, 2)?);
        let part = list.get(from..to);
        part.map(|it| it.iter().cloned().collect())
            .ok_or_else(|| "the list has no such part".to_owned())
    }),
    ("sort", |args| {
        let mut words: Vec<String> = list(&args, 0)?.iter().map(plain).collect();
        words.sort();
        Ok(words.into_iter().map(Value::from).collect())
    }),
    ("split", |args| {
        let (between, text) = (text(&args, 0)?, text(&args, 1)?);
        Ok(text.split(between.as_str()).map(Value::from).collect())
    }),
    ("strlen", |args| Ok(text(&args, 0)?.chars().count().into())),
    ("substr", |args| {
        let text = text(&args, 0)?;
        let characters = text.chars().skip(number(&args, 1)?);
        Ok(match number(&args, 2) {
            Ok(length) => characters.take(length).collect::<String>().into(),
            // A negative length means the rest.
            Err(_) => characters.collect::<String>().into(),
        })
    }),
    ("subtract", |args| {
        Ok(number_of(float(&args, 0)? - float(&args, 1)?))
    }),
    ("title", |args| {
        let words = text(&args, 0)?;
        let words = words.split(' ').map(|word| {
            let mut letters = word.chars();
            let first = letters
                .next()
                .map(|it| it.to_uppercase().collect::<String>());
            first.unwrap_or_default() + letters.as_str()
        });
        Ok(words.collect::<Vec<_>>().join(" ").into())
    }),
    ("trim", |args| {
        let cut = text(&args, 1)?;
        Ok(text(&args, 0)?.trim_matches(|c| cut.contains(c)).into())
    }),
    ("trimprefix", |args| {
        let (text, prefix) = (text(&args, 0)?, text(&args, 1)?);
        Ok(text.strip_prefix(prefix.as_str()).unwrap_or(&text).into())
    }),
    ("trimspace", |args| Ok(text(&args, 0)?.trim().into())),
    ("trimsuffix", |args| {
        let (text, suffix) = (text(&args, 0)?, text(&args, 1)?);
        Ok(text.strip_suffix(suffix.as_str()).unwrap_or(&text).into())
    }),
    ("upper", |args| Ok(text(&args, 0)?.to_uppercase().into())),
    ("values", |args| {
        let table = given(&args, 0)?.as_object().ok_or("it is no object")?;
        Ok(table.values().cloned().collect())
    }),
    ("zipmap", |args| {
        let (keys, values) = (list(&args, 0)?, list(&args, 1)?);
        let pairs = keys.iter().map(plain).zip(values);
        Ok(Value::from(pairs.collect::<hcl::Map<String, Value>>()))
    }),
];

/// What a function makes is not longer: functions of what functions made multiply.
pub(super) const TEXT_MAX: usize = 1 << 16;
/// A list of a range is not longer.
const RANGE_MAX: usize = 1 << 12;

/// Makes them known.
pub(super) fn declare(context: &mut Context<'_>) {
    for (name, function) in FUNCTIONS {
        let definition = FuncDef::builder().variadic_param(ParamType::Any);
        context.declare_func(
            hcl::Identifier::sanitized(name),
            definition.build(*function),
        );
    }
}

/// Refuses a text that would be too long; `None` stands for one that cannot even be counted.
fn fits(length: Option<usize>) -> Result<(), String> {
    match length {
        Some(0..=TEXT_MAX) => Ok(()),
        _ => Err(format!("the result is longer than {TEXT_MAX} bytes")),
    }
}

fn replaced(text: &str, old: &str, new: &str) -> Result<Value, String> {
    let more = text.matches(old).count().checked_mul(new.len());
    fits(more.and_then(|it| it.checked_add(text.len())))?;
    Ok(text.replace(old, new).into())
}

fn given(args: &[Value], at: usize) -> Result<&Value, String> {
    args.get(at)
        .ok_or_else(|| "an argument is missing".to_owned())
}

fn text(args: &[Value], at: usize) -> Result<String, String> {
    match given(args, at)? {
        Value::Array(_) | Value::Object(_) | Value::Null => {
            Err("an argument is no text".to_owned())
        }
        value => Ok(plain(value)),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn list(args: &[Value], at: usize) -> Result<Vec<Value>, String> {
    let list = given(args, at)?.as_array();
    list.cloned()
        .ok_or_else(|| "an argument is no list".to_owned())
}

fn float(args: &[Value], at: usize) -> Result<f64, String> {
    let value = given(args, at)?;
    let of_text = || value.as_str().and_then(|it| it.parse().ok());
    let number = value.as_f64().or_else(of_text);
    number.ok_or_else(|| "an argument is no number".to_owned())
}

fn numbers(args: &[Value]) -> Result<Vec<f64>, String> {
    (0..args.len()).map(|at| float(args, at)).collect()
}

/// A number that counts something.
fn number(args: &[Value], at: usize) -> Result<usize, String> {
    let value = given(args, at)?;
    let of_text = || value.as_str().and_then(|it| it.parse().ok());
    let number = value.as_u64().or_else(of_text);
    let number = number.and_then(|it| usize::try_from(it).ok());
    number.ok_or_else(|| "an argument is no count".to_owned())
}

/// A number without a fraction where it has none.
fn number_of(value: f64) -> Value {
    let whole = format!("{value:.0}").parse::<i64>();
    match whole {
        Ok(whole) if value.fract() == 0.0 => whole.into(),
        _ => value.into(),
    }
}

fn rounded(args: &[Value], how: fn(f64) -> f64) -> Result<Value, String> {
    let value = how(float(args, 0)?);
    let whole = format!("{value:.0}").parse::<i64>();
    Ok(whole.map_or_else(|_| value.into(), Value::from))
}

fn is_true(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| value.as_str() == Some("true"))
}

/// The element of a list or a table that the second argument names.
fn found(args: &[Value]) -> Option<Value> {
    match (args.first()?, args.get(1)?) {
        (Value::Array(list), at) => list.get(usize::try_from(at.as_u64()?).ok()?).cloned(),
        (Value::Object(table), key) => table.get(key.as_str()?).cloned(),
        _ => None,
    }
}

/// `%s`, `%d`, `%v` and `%q` with the arguments in their order.
fn formatted(format: &str, args: &[Value]) -> Result<String, String> {
    let mut made = String::new();
    let mut args = args.iter();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            made.push(c);
            continue;
        }
        let mut next = || {
            args.next()
                .ok_or_else(|| format!("`{format}` has no argument left"))
        };
        match rest.next() {
            Some('%') => made.push('%'),
            Some('s' | 'd' | 'v') => made.push_str(&plain(next()?)),
            Some('q') => made.push_str(&format!("{:?}", plain(next()?))),
            _ => return Err(format!("`{format}` has a form that is not known")),
        }
        fits(Some(made.len()))?;
    }
    Ok(made)
}
