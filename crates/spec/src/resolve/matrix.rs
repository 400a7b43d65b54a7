//! An image to the images it stands for: itself, its variants, or the combinations of its axes.

use std::collections::BTreeMap;

use cairn_diagnostic::Span;

use super::Resolver;
use super::merge::Merged;
use crate::stack::{Affixes, ImageName};
use crate::suggest::{nearest, quoted};
use crate::written::{
    AxisSection, ImageSection, MatrixSection, Scalar, Spanned, StringOrList, VariantSection,
};

/// The axis that variants are on.
const VARIANT_AXIS: &str = "variant";
/// What `exclude` calls the platform.
const PLATFORM: &str = "platform";
/// More combinations than this are a mistake; GitHub's matrices have the same limit.
const COMBINATIONS_MAX: usize = 256;

/// One image of the stack, with what is known before its settings are looked at.
pub(super) struct Member<'f> {
    pub(super) name: ImageName,
    pub(super) span: Span,
    pub(super) merged: Merged<'f>,
    /// The axes with the values it has on them, in the order of the file.
    pub(super) axes: Vec<(String, String)>,
    pub(super) affixes: Affixes,
    /// The platforms that the matrix leaves out for it.
    pub(super) excluded: Vec<Spanned<String>>,
}

/// One value of an axis.
#[derive(Clone, Copy)]
struct Value<'f> {
    name: &'f str,
    span: Span,
    section: Option<&'f VariantSection>,
    /// The value as an argument, for an axis that is a list.
    scalar: Option<&'f Spanned<Scalar>>,
}

impl Value<'_> {
    fn prefix(&self) -> Option<&str> {
        let prefix = self.section?.prefix.as_ref()?;
        Some(&prefix.value)
    }

    fn suffix(&self) -> String {
        let given = self.section.and_then(|section| section.suffix.as_ref());
        match (given, self.prefix()) {
            (Some(suffix), _) => suffix.value.clone(),
            (None, Some(_)) => String::new(),
            (None, None) => format!("-{}", self.name),
        }
    }
}

type Axis<'f> = (&'f str, Vec<Value<'f>>);

impl Resolver<'_> {
    /// The images that one entry of the spec stands for.
    pub(super) fn members<'f>(
        &mut self,
        name: &str,
        section: &'f Spanned<ImageSection>,
        merged: Merged<'f>,
    ) -> Vec<Member<'f>> {
        match (&section.variant, &section.matrix) {
            (None, None) => vec![Member {
                name: ImageName::plain(name),
                span: section.span,
                merged,
                axes: Vec::new(),
                affixes: Affixes::default(),
                excluded: Vec::new(),
            }],
            (Some(_), Some(matrix)) => {
                self.error(matrix.span, format!("`{name}` has variants and a matrix"))
                    .hint(
                        "make the variants an axis of the matrix: `[image.NAME.matrix.AXIS.VALUE]`",
                    );
                Vec::new()
            }
            (Some(variants), None) => {
                if variants.is_empty() {
                    self.error(section.span, format!("`{name}` has no variant"))
                        .hint("remove its empty `variant` table");
                }
                let values = sections(variants);
                self.combined(name, section.span, merged, &[(VARIANT_AXIS, values)], &[])
            }
            (None, Some(matrix)) => self.matrix(name, matrix, merged),
        }
    }

    fn matrix<'f>(
        &mut self,
        name: &str,
        matrix: &'f Spanned<MatrixSection>,
        merged: Merged<'f>,
    ) -> Vec<Member<'f>> {
        let mut axes: Vec<(&str, &Spanned<AxisSection>)> = matrix
            .axes
            .iter()
            .map(|(axis, section)| (axis.as_str(), section))
            .collect();
        axes.sort_by_key(|(_, section)| section.span.start);
        let mut read: Vec<Axis<'f>> = Vec::new();
        for (axis, section) in axes {
            let good = axis.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && axis
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if !good || axis == PLATFORM || crate::tags::FACTS.contains(&axis) {
                self.error(section.span, format!("`{axis}` cannot name an axis"))
                    .hint("axes are named by letters, digits, `_` and `-`, and not as a fact of `[tags]`");
            }
            let values = match &section.value {
                AxisSection::Values(values) => values
                    .iter()
                    .map(|value| Value {
                        name: &value.value.0,
                        span: value.span,
                        section: None,
                        scalar: Some(value),
                    })
                    .collect(),
                AxisSection::Sections(values) => sections(values),
            };
            if values.is_empty() {
                self.error(section.span, format!("the axis `{axis}` has no values"));
            }
            read.push((axis, values));
        }
        if read.is_empty() {
            self.error(matrix.span, format!("the matrix of `{name}` has no axes"))
                .hint("add one, as in `python = [\"3.11\", \"3.12\"]`");
            return Vec::new();
        }
        let sizes = read.iter().map(|(_, values)| values.len());
        let combinations = sizes.fold(1, usize::saturating_mul);
        if combinations > COMBINATIONS_MAX {
            self.error(
                matrix.span,
                format!("the matrix of `{name}` has {combinations} combinations, at most {COMBINATIONS_MAX}"),
            );
            return Vec::new();
        }
        self.exclusions_are_valid(&read, &matrix.exclude);
        self.combined(name, matrix.span, merged, &read, &matrix.exclude)
    }

    fn combined<'f>(
        &mut self,
        name: &str,
        span: Span,
        merged: Merged<'f>,
        axes: &[Axis<'f>],
        exclude: &[Spanned<BTreeMap<String, StringOrList>>],
    ) -> Vec<Member<'f>> {
        let mut members = Vec::new();
        for combination in product(axes) {
            let mut excluded = Vec::new();
            let mut is_out = false;
            for exclusion in exclude {
                if !applies(exclusion, axes, &combination) {
                    continue;
                }
                match exclusion.get(PLATFORM) {
                    Some(platforms) => excluded.extend(platforms.0.iter().cloned()),
                    None => is_out = true,
                }
            }
            if is_out {
                continue;
            }
            let names: Vec<&str> = combination.iter().map(|value| value.name).collect();
            let variant = names.join("-");
            let place = combination.last().map_or(span, |value| value.span);
            self.variant_name_is_valid(&variant, place);
            let mut merged = merged.clone();
            for ((axis, _), value) in axes.iter().zip(&combination) {
                if let Some(section) = value.section {
                    merged = merged.variant(section);
                }
                merged
                    .axis_args
                    .extend(value.scalar.map(|scalar| (*axis, scalar)));
            }
            let affixes = Affixes {
                prefix: combination.iter().filter_map(Value::prefix).collect(),
                suffix: combination.iter().map(Value::suffix).collect(),
            };
            self.affixes_are_valid(&affixes, place);
            let on_axes = axes.iter().zip(&combination);
            members.push(Member {
                name: ImageName::variant(name, variant),
                span: place,
                merged,
                axes: on_axes
                    .map(|((axis, _), value)| ((*axis).to_owned(), value.name.to_owned()))
                    .collect(),
                affixes,
                excluded,
            });
        }
        if members.is_empty() && axes.iter().all(|(_, values)| !values.is_empty()) {
            self.error(
                span,
                format!("nothing of `{name}` is left: all is excluded"),
            );
        }
        members
    }

    fn affixes_are_valid(&mut self, affixes: &Affixes, place: Span) {
        for (kind, text) in [("prefix", &affixes.prefix), ("suffix", &affixes.suffix)] {
            if let Some(wrong) = text.chars().find(|c| !crate::tags::is_tag_character(*c)) {
                self.error(
                    place,
                    format!("the {kind} `{text}` has `{wrong}`, which cannot be in a tag"),
                );
            }
        }
        if let Some(first) = affixes.prefix.chars().next().filter(|c| "-.".contains(*c)) {
            let prefix = &affixes.prefix;
            self.error(
                place,
                format!("the prefix `{prefix}` begins with `{first}`, which no tag does"),
            );
        }
    }

    fn exclusions_are_valid(
        &mut self,
        axes: &[Axis<'_>],
        exclude: &[Spanned<BTreeMap<String, StringOrList>>],
    ) {
        for exclusion in exclude {
            let names_axis = exclusion.keys().any(|key| key != PLATFORM);
            if !names_axis {
                self.error(exclusion.span, "this excludes no value of an axis")
                    .hint("to leave a platform out altogether, do not list it in `platforms`");
            }
            for (key, wanted) in exclusion.iter().filter(|(key, _)| *key != PLATFORM) {
                let Some((_, values)) = axes.iter().find(|(axis, _)| axis == key) else {
                    let near = nearest(key, axes.iter().map(|(axis, _)| *axis));
                    let names = quoted(axes.iter().map(|(axis, _)| *axis));
                    let finding = self.error(exclusion.span, format!("there is no axis `{key}`"));
                    match near {
                        Some(near) => finding.hint(format!("did you mean `{near}`?")),
                        None => finding.hint(format!("the axes are {names}")),
                    }
                    continue;
                };
                for value in &wanted.0 {
                    if !values.iter().any(|it| it.name == value.value) {
                        let names = quoted(values.iter().map(|it| it.name));
                        self.error(
                            value.span,
                            format!("`{}` is no value of `{key}`", value.value),
                        )
                        .hint(format!("its values are {names}"));
                    }
                }
            }
        }
    }
}

fn sections(values: &BTreeMap<String, Spanned<VariantSection>>) -> Vec<Value<'_>> {
    let values = values.iter().map(|(name, section)| Value {
        name,
        span: section.span,
        section: Some(&section.value),
        scalar: None,
    });
    let mut values: Vec<_> = values.collect();
    values.sort_by_key(|value| value.span.start);
    values
}

/// Every combination, the first axis changing slowest.
fn product<'f>(axes: &[Axis<'f>]) -> Vec<Vec<Value<'f>>> {
    let mut combinations = vec![Vec::new()];
    for (_, values) in axes {
        combinations = combinations
            .iter()
            .flat_map(|start| {
                values.iter().map(move |value| {
                    let mut combination = start.clone();
                    combination.push(*value);
                    combination
                })
            })
            .collect();
    }
    combinations
}

fn applies(
    exclusion: &BTreeMap<String, StringOrList>,
    axes: &[Axis<'_>],
    combination: &[Value<'_>],
) -> bool {
    let mut conditions = exclusion.iter().filter(|(key, _)| *key != PLATFORM);
    conditions.all(|(key, wanted)| {
        let value = axes
            .iter()
            .zip(combination)
            .find(|((axis, _), _)| axis == key);
        value.is_some_and(|(_, value)| wanted.0.iter().any(|it| it.value == value.name))
    })
}
