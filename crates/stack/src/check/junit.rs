//! Results as JUnit's XML, which CI services read.

use std::fmt::Write;

use super::outcome::{FileCheck, ImageCheck, TestOutcome};

/// Prints results: a suite for each test file of each image.
pub fn junit(checks: &[ImageCheck]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for check in checks {
        for file in &check.files {
            suite(&mut out, &check.label, file);
        }
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(out: &mut String, image: &str, file: &FileCheck) {
    let failures = file.tests.iter().filter(|test| !test.passed).count();
    let left_out = usize::from(file.left_out.is_some());
    let skipped = file.tests.iter().filter(|test| test.skipped).count() + left_out;
    let seconds = file.tests.iter().fold(0.0, |sum, test| sum + test.seconds);
    let _ = writeln!(
        out,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"{skipped}\" time=\"{seconds:.3}\">",
        escaped(&format!("{image} {}", file.file)),
        file.tests.len() + left_out,
    );
    if let Some(reason) = &file.left_out {
        let _ = writeln!(
            out,
            "    <testcase classname=\"{}\" name=\"{}\" time=\"0\">\n      \
             <skipped message=\"{}\"/>\n    </testcase>",
            escaped(image),
            escaped(&file.file),
            escaped(reason),
        );
    }
    for test in &file.tests {
        case(out, image, test);
    }
    out.push_str("  </testsuite>\n");
}

fn case(out: &mut String, image: &str, test: &TestOutcome) {
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        escaped(image),
        escaped(&test.test),
        test.seconds,
    );
    let first = escaped(test.detail.lines().next().unwrap_or_default());
    if !test.passed {
        let whole = escaped(&test.detail);
        let _ = writeln!(
            out,
            ">\n      <failure message=\"{first}\">{whole}</failure>\n    </testcase>"
        );
    } else if test.skipped {
        let _ = writeln!(
            out,
            ">\n      <skipped message=\"{first}\"/>\n    </testcase>"
        );
    } else {
        out.push_str("/>\n");
    }
}

/// Text as XML 1.0 allows it: control characters cannot be written at all.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::schedule::Work;

    #[test]
    fn results_are_valid_xml_whatever_tests_print() {
        let test = |name: &str, passed, skipped, detail: &str| TestOutcome {
            test: name.to_owned(),
            passed,
            skipped,
            detail: detail.to_owned(),
            seconds: 0.5,
        };
        let work = Work::Structure("t/structure.yaml".to_owned());
        let file = FileCheck {
            tests: vec![
                test("a", true, false, ""),
                test("b <\"&>", false, false, "expected <1>\n\u{1b}[31mgot 2"),
                test("c", true, true, "no GPU"),
            ],
            ..FileCheck::new(&work)
        };
        let left_out = FileCheck {
            left_out: Some("base failed".to_owned()),
            ..FileCheck::new(&Work::Structure("u.yaml".to_owned()))
        };
        let check = ImageCheck {
            image: "model:cloud".to_owned(),
            label: "model:cloud".to_owned(),
            content: String::new(),
            platform: String::new(),
            files: vec![file, left_out],
        };
        assert_eq!(
            junit(&[check]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  \
             <testsuite name=\"model:cloud t/structure.yaml\" tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\" time=\"1.500\">\n    \
             <testcase classname=\"model:cloud\" name=\"a\" time=\"0.500\"/>\n    \
             <testcase classname=\"model:cloud\" name=\"b &lt;&quot;&amp;&gt;\" time=\"0.500\">\n      \
             <failure message=\"expected &lt;1&gt;\">expected &lt;1&gt;&#10;\u{fffd}[31mgot 2</failure>\n    </testcase>\n    \
             <testcase classname=\"model:cloud\" name=\"c\" time=\"0.500\">\n      <skipped message=\"no GPU\"/>\n    </testcase>\n  \
             </testsuite>\n  \
             <testsuite name=\"model:cloud u.yaml\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\" time=\"0.000\">\n    \
             <testcase classname=\"model:cloud\" name=\"u.yaml\" time=\"0\">\n      <skipped message=\"base failed\"/>\n    </testcase>\n  \
             </testsuite>\n</testsuites>\n"
        );
    }
}
