//! Functions that a bake file defines itself: a call stands for the result with the arguments put
//! in. What cannot be evaluated then says so by itself.

use std::cell::Cell;
use std::collections::BTreeMap;

use hcl::Expression;
use hcl::expr::{Operation, TemplateExpr, TraversalOperator};
use hcl::template::{Directive, Element, Template};

/// A function calls others no deeper than this: bake refuses circles.
const DEPTH_MAX: usize = 16;
/// So many calls of one expression are put in: functions that call each other multiply.
const CALLS_MAX: usize = 1000;
/// An expression with calls put in is not longer, as text.
const EXPRESSION_MAX: usize = 1 << 16;
/// Brackets stand in each other no deeper in it: what walks through an expression calls itself.
const NESTED_MAX: usize = 64;

/// Functions by name.
#[derive(Debug, Default)]
pub(super) struct Functions {
    functions: BTreeMap<String, Function>,
}

#[derive(Debug)]
struct Function {
    params: Vec<String>,
    /// Takes all arguments that are left.
    rest: Option<String>,
    result: Expression,
}

impl Functions {
    /// Those that a file defines.
    pub(super) fn of(body: &hcl::Body) -> Self {
        let blocks = body.blocks().filter(|it| it.identifier() == "function");
        let functions = blocks.filter_map(|block| {
            let name = block.labels().first()?.as_str().to_owned();
            let of = |key: &str| {
                let mut attributes = block.body().attributes();
                attributes
                    .find(|it| it.key() == key)
                    .map(|it| it.expr().clone())
            };
            let params = match of("params") {
                Some(Expression::Array(params)) => params.iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            };
            let function = Function {
                params,
                rest: of("variadic_params").map(|it| it.to_string()),
                result: of("result")?,
            };
            Some((name, function))
        });
        Self {
            functions: functions.collect(),
        }
    }

    /// The same expression without calls of these functions.
    pub(super) fn put_in(&self, expression: &Expression) -> Expression {
        match self.functions.is_empty() {
            true => expression.clone(),
            false => self.put_in_at(expression, 0, &Cell::new(CALLS_MAX)),
        }
    }

    /// What is too deep, too often or too long stays a call, which nobody can evaluate.
    fn put_in_at(&self, expression: &Expression, depth: usize, left: &Cell<usize>) -> Expression {
        changed(expression, &|it| {
            let Expression::FuncCall(call) = &it else {
                return it;
            };
            let function = self.functions.get(call.name.name.as_str());
            let (Some(function), Some(fewer), true) =
                (function, left.get().checked_sub(1), depth < DEPTH_MAX)
            else {
                return it;
            };
            left.set(fewer);
            let applied = function.applied(&call.args);
            let text = applied.to_string();
            if text.len() > EXPRESSION_MAX || nested(&text) > NESTED_MAX {
                return it;
            }
            self.put_in_at(&applied, depth + 1, left)
        })
    }
}

/// How deep brackets stand in each other in a text.
fn nested(text: &str) -> usize {
    let (mut open, mut most) = (0usize, 0);
    for letter in text.bytes() {
        match letter {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

impl Function {
    fn applied(&self, args: &[Expression]) -> Expression {
        let own = self.params.iter().cloned().zip(args.iter().cloned());
        let mut values: BTreeMap<String, Expression> = own.collect();
        if let Some(rest) = &self.rest {
            let left = args.iter().skip(self.params.len()).cloned().collect();
            values.insert(rest.clone(), Expression::Array(left));
        }
        let value = |it: Expression| match &it {
            Expression::Variable(name) => match values.get(name.as_str()) {
                Some(value) => Expression::Parenthesis(Box::new(value.clone())),
                None => it,
            },
            _ => it,
        };
        changed(&self.result, &value)
    }
}

/// An expression with `change` made to each part of it, from the innermost outwards.
fn changed(expression: &Expression, change: &dyn Fn(Expression) -> Expression) -> Expression {
    let of = |part: &Expression| changed(part, change);
    let made = match expression.clone() {
        Expression::Array(items) => Expression::Array(items.iter().map(of).collect()),
        Expression::Object(fields) => {
            let fields = fields.into_iter();
            Expression::Object(fields.map(|(key, value)| (key, of(&value))).collect())
        }
        Expression::TemplateExpr(template) => match Template::from_expr(&template) {
            Ok(mut parsed) => {
                change_template(&mut parsed, change);
                TemplateExpr::QuotedString(parsed.to_string()).into()
            }
            Err(_) => Expression::TemplateExpr(template),
        },
        Expression::Traversal(mut traversal) => {
            traversal.expr = of(&traversal.expr);
            for operator in &mut traversal.operators {
                if let TraversalOperator::Index(index) = operator {
                    *index = of(index);
                }
            }
            Expression::Traversal(traversal)
        }
        Expression::FuncCall(mut call) => {
            call.args = call.args.iter().map(of).collect();
            Expression::FuncCall(call)
        }
        Expression::Parenthesis(inner) => Expression::Parenthesis(Box::new(of(&inner))),
        Expression::Conditional(mut choice) => {
            choice.cond_expr = of(&choice.cond_expr);
            choice.true_expr = of(&choice.true_expr);
            choice.false_expr = of(&choice.false_expr);
            Expression::Conditional(choice)
        }
        Expression::Operation(mut operation) => {
            match &mut *operation {
                Operation::Unary(unary) => unary.expr = of(&unary.expr),
                Operation::Binary(binary) => {
                    binary.lhs_expr = of(&binary.lhs_expr);
                    binary.rhs_expr = of(&binary.rhs_expr);
                }
            }
            Expression::Operation(operation)
        }
        Expression::ForExpr(mut each) => {
            each.collection_expr = of(&each.collection_expr);
            each.value_expr = of(&each.value_expr);
            each.key_expr = each.key_expr.as_ref().map(of);
            each.cond_expr = each.cond_expr.as_ref().map(of);
            Expression::ForExpr(each)
        }
        plain => plain,
    };
    change(made)
}

fn change_template(template: &mut Template, change: &dyn Fn(Expression) -> Expression) {
    for element in template.elements_mut() {
        match element {
            Element::Literal(_) => {}
            Element::Interpolation(inner) => inner.expr = changed(&inner.expr, change),
            Element::Directive(directive) => match &mut **directive {
                Directive::If(choice) => {
                    choice.cond_expr = changed(&choice.cond_expr, change);
                    change_template(&mut choice.true_template, change);
                    if let Some(other) = &mut choice.false_template {
                        change_template(other, change);
                    }
                }
                Directive::For(each) => {
                    each.collection_expr = changed(&each.collection_expr, change);
                    change_template(&mut each.template, change);
                }
            },
        }
    }
}
