//! Scripts and what is in them.

use super::*;

/// Prints a script with everything in brackets.
fn shown(text: &str) -> String {
    match Script::parse(text) {
        Ok(script) => show(&script),
        Err(error) => format!("error: {error}"),
    }
}

fn show(script: &Script) -> String {
    let lists = script.lists.iter().map(|list| {
        let mut out = pipeline(&list.first);
        for (connector, next) in &list.rest {
            let mark = match connector {
                Connector::And => "&&",
                Connector::Or => "||",
            };
            out.push_str(&format!(" {mark} {}", pipeline(next)));
        }
        if list.is_background {
            out.push_str(" &");
        }
        out
    });
    lists.collect::<Vec<_>>().join(" ; ")
}

fn pipeline(pipeline: &Pipeline) -> String {
    let commands: Vec<String> = pipeline.commands.iter().map(command).collect();
    let mark = if pipeline.is_negated { "! " } else { "" };
    format!("{mark}{}", commands.join(" | "))
}

fn command(command: &Command) -> String {
    match command {
        Command::Simple(simple) => {
            let assignments = simple.assignments.iter();
            let mut parts: Vec<String> = assignments
                .map(|(name, value)| format!("{name}={}", value.text))
                .collect();
            parts.extend(simple.words.iter().map(|word| format!("[{}]", word.text)));
            parts.extend(simple.redirects.iter().map(|redirect| {
                let body = redirect.body.as_deref().unwrap_or("");
                format!("{}{}{body:?}", redirect.operator, redirect.target.text)
            }));
            parts.join("")
        }
        Command::Compound(compound) => {
            let parts: Vec<String> = compound.parts.iter().map(show).collect();
            format!("{:?}<{}>", compound.kind, parts.join(" / "))
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(shown(text), expected, "{text}");
}

#[test]
fn lists_and_pipelines() {
    check("a b && c || d; e", "[a][b] && [c] || [d] ; [e]");
    check("a | b |& c", "[a] | [b] | [c]");
    check("a & b\n\nc;", "[a] & ; [b] ; [c]");
    check("! a | b", "! [a] | [b]");
    check("a &&\n b", "[a] && [b]");
    check("", "");
    check(" # nothing\n", "");
}

#[test]
fn words_and_quotes() {
    check("a 'b c' \"d $e\" f\\ g", "[a][b c][d $e][f g]");
    check(
        "a $(b; c | d) `e f` ${g:-h i}",
        "[a][$(b; c | d)][`e f`][${g:-h i}]",
    );
    check("a#b c #d", "[a#b][c]");
    check("A=1 B='x y' c D=2", "A=1B=x y[c][D=2]");
    check("A=$(x)", "A=$(x)");
    check("echo \"a\\\"b\" 'it'\\''s'", "[echo][a\"b][it's]");
    let literal = |text: &str| {
        let script = Script::parse(text).unwrap();
        script.simple_commands()[0].words[0].is_literal
    };
    assert!(literal("abc") && literal("'$x'") && !literal("$x") && !literal("a*"));
}

#[test]
fn redirections_and_here_documents() {
    check("a >b 2>&1 <c", "[a]>b\"\"2>&1\"\"<c\"\"");
    check("cat <<E >f\nx\nE\nb", "[cat]<<E\"x\\n\">f\"\" ; [b]");
    check("cat <<-'E'\n\tx && y\n\tE\n", "[cat]<<-E\"\\tx && y\\n\"");
    check("a &>b", "[a]&>b\"\"");
    check("diff <(a b) c", "[diff][<(a b)][c]");
    check("x <<<$y", "[x]<<<$y\"\"");
}

#[test]
fn compound_commands() {
    check("(a; b) && c", "Subshell<[a] ; [b]> && [c]");
    check("{ a; b; } >f", "Group<[a] ; [b]>");
    check("if a; then b; else c; fi", "Condition<[a] / [b] / [c]>");
    check(
        "if a; then b; elif c; then d; fi; e",
        "Condition<[a] / [b] / [c] / [d]> ; [e]",
    );
    check("while a; do b; done", "Condition<[a] / [b]>");
    check("for x in a b; do c $x; done", "Other<[c][$x]>");
    check("for x; do c; done", "Other<[c]>");
    check("case $x in a|b) c;; (*) d ;; esac", "Other<[c] / [d]>");
    check("f() { a; }; f", "Function<[a]> ; [f]");
    check("echo if then", "[echo][if][then]");
}

#[test]
fn what_is_no_script() {
    for text in [
        "a 'b",
        "a \"b",
        "a $(b",
        "a &&",
        "| a",
        "if a; then b",
        "(a",
        "a )",
        "fi",
        "{ a;",
    ] {
        assert!(Script::parse(text).is_err(), "{text}: {}", shown(text));
    }
    assert_eq!(
        Script::parse(&"(".repeat(100_000)),
        Err(ShellError::TooDeep)
    );
    assert_eq!(
        Script::parse(&"a()".repeat(100_000)),
        Err(ShellError::TooDeep)
    );
    assert!(Script::parse(&"if a; then ".repeat(10_000)).is_err());
}

#[test]
fn places_are_those_of_the_text() {
    let text = "x && pip  install 'y'; z";
    let script = Script::parse(text).unwrap();
    let commands = script.simple_commands();
    assert_eq!(&text[commands[1].range.clone()], "pip  install 'y'");
    assert_eq!(&text[commands[1].words[2].range.clone()], "'y'");
}

fn invocation(text: &str) -> String {
    let script = Script::parse(text).unwrap();
    let commands = script.simple_commands();
    let found = Invocation::of(commands[0]);
    found.map_or("none".to_owned(), |found| {
        let arguments: Vec<&str> = found
            .arguments
            .iter()
            .map(|word| word.text.as_str())
            .collect();
        format!(
            "{:?} {:?} {} {}",
            found.wrappers,
            found.variables,
            found.program,
            arguments.join(" ")
        )
    })
}

#[test]
fn wrappers_are_taken_off() {
    assert_eq!(invocation("/usr/bin/pip install x"), "[] [] pip install x");
    assert_eq!(
        invocation("A=1 sudo -E -u bob env B=2 pip install x"),
        "[Sudo, Plain] [(\"A\", \"1\"), (\"B\", \"2\")] pip install x"
    );
    assert_eq!(
        invocation("conda run --no-capture-output -n env python a.py"),
        "[Environment] [] python a.py"
    );
    assert_eq!(invocation("conda install x"), "[] [] conda install x");
    assert_eq!(invocation("timeout -s 9 10 make"), "[Plain] [] make ");
    assert_eq!(invocation("env"), "[] [] env ");
    assert_eq!(invocation("A=1"), "none");
}

/// A quote in double quotes means nothing, inside a substitution too.
#[test]
fn quotes_of_a_substitution_are_its_own() {
    for text in [
        r#"a "$(echo "it's")"; apt-get update"#,
        r#"a $(echo "x)" `echo ")"`); apt-get update"#,
        r#"a $(echo "$(echo "it's")"); apt-get update"#,
    ] {
        let script = Script::parse(text).unwrap();
        let programs: Vec<_> = script
            .simple_commands()
            .iter()
            .filter_map(|one| one.program())
            .collect();
        assert_eq!(programs, ["a", "apt-get"], "{text}");
    }
    let deep = format!("a {}b{}", r#"$(x ""#.repeat(5000), r#"")"#.repeat(5000));
    assert!(Script::parse(&deep).is_err());
}
