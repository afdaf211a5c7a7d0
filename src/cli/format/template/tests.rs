//! The language, by tables.

use super::{Row, Template};
use crate::cli::format::error::{FormatError, SyntaxProblem, ValueProblem};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::error::Error;

fn row() -> Row {
    let fields = json!({
        "ID": "bnj2ap2i3evb", "Name": "web", "Replicas": 3, "Ratio": 0.5, "Zero": 0, "Empty": "", "None": null, "Self": true,
        "Big": 9_007_199_254_740_993_u64,
        "Labels": {"foo": "bar", "a.b": "dotted"}, "NoLabels": {},
        "Ports": [80, 443], "Nothing": [],
        "Spec": {"Name": "inner", "Mounts": [{"Source": "s1", "Target": "/a"}, {"Source": "s2", "Target": "/b"}]},
    });
    Row::new(fields).with_lookup("Label", json!({"foo": "bar", "com.example.x": "1"}))
}

fn show(source: &str) -> Result<String, FormatError> {
    Template::parse_with_escapes(source)?.render(&row())
}

fn check(cases: &[(&str, &str)]) {
    for (source, text) in cases {
        assert_eq!(show(source).as_deref(), Ok(*text), "{source}");
    }
}

fn chain(source: &str) -> String {
    let error = show(source).unwrap_err();
    format!("{error}: {}", error.source().map(ToString::to_string).unwrap_or_default())
}

#[test]
fn fields_print_as_in_go() {
    check(&[
        ("", ""),
        ("plain }} text", "plain }} text"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}-{{.ID}}", "web-bnj2ap2i3evb"),
        ("{{.Spec.Name}}", "inner"),
        ("{{$.Spec.Name}}", "inner"),
        ("{{.Replicas}} {{.Ratio}} {{.Self}} {{.Big}}", "3 0.5 true 9007199254740993"),
        ("{{1e6}} {{1e21}} {{0.00001}} {{2.5e-7}} {{1.0}} {{0x1F}} {{'a'}}", "1e+06 1e+21 1e-05 2.5e-07 1 31 97"),
        ("{{.None}}", "<no value>"),
        ("{{.Labels}}", "map[a.b:dotted foo:bar]"),
        ("{{.Ports}}", "[80 443]"),
        ("{{.Labels.foo}}", "bar"),
        ("{{.Labels.missing}}", "<no value>"),
        ("{{.NoLabels.missing}}", "<no value>"),
        ("{{(index .Spec.Mounts 1).Target}}", "/b"),
        ("{{(.Spec).Name}}", "inner"),
    ]);
}

#[test]
fn escapes_are_expanded_outside_of_actions_only() {
    check(&[(r"{{.Name}}\t{{.ID}}\n", "web\tbnj2ap2i3evb\n"), (r#"{{"a\tb"}}{{`\t`}}"#, "a\tb\\t")]);
    let plain = Template::parse(r"{{.Name}}\t").unwrap();
    assert_eq!(plain.render(&row()).as_deref(), Ok(r"web\t"));
}

#[test]
fn blanks_are_trimmed() {
    check(&[
        ("a {{- .Name -}} b", "awebb"),
        ("a\n {{- /* note */ -}} \n b", "ab"),
        ("a {{/* note }} */}} b", "a  b"),
        (r"a\n{{- .Name}}", "aweb"),
        ("{{- 3}} {{-3}}", "3 -3"),
    ]);
}

#[test]
fn text_functions_are_dockers() {
    check(&[
        ("{{upper .Name}} {{lower \"ABC\"}} {{.Name | upper | lower}}", "WEB abc web"),
        ("{{title \"hello big-world it's\"}}", "Hello Big-World It'S"),
        ("{{join (split \"a,b,c\" \",\") \"-\"}}", "a-b-c"),
        ("{{join .Ports \"\\n\"}}", "80\n443"),
        ("{{split \"abc\" \"\"}}", "[a b c]"),
        ("[{{pad .Name 1 2}}][{{pad .Empty 1 2}}]", "[ web  ][]"),
        ("{{truncate .ID 4}} {{truncate .Name 9}}", "bnj2 web"),
        (
            "{{json .Name}} {{json .Ports}} {{json .None}} {{json .Labels}}",
            r#""web" [80,443] null {"a.b":"dotted","foo":"bar"}"#,
        ),
        ("{{println .Name 3}}", "web 3\n"),
        ("{{print .Name 1 2 .Name}}", "web1 2web"),
        ("{{len .Name}} {{len .Ports}} {{len .Labels}}", "3 2 2"),
        ("{{index .Labels \"a.b\"}}[{{index .Labels \"nope\"}}][{{index .None \"x\"}}]", "dotted[][]"),
        ("{{index .Ports 1}} {{index .Spec \"Mounts\" 0 \"Source\"}}", "443 s1"),
        ("{{slice .ID 3 6}} {{slice .ID 9}} {{slice .Ports 1}}", "2ap evb [443]"),
    ]);
}

#[test]
fn printf_is_gos() {
    check(&[
        (r#"{{printf "%s=%d" .Name .Replicas}}"#, "web=3"),
        (r#"{{printf "%-6s|%6s|%.2s|" .Name .Name .Name}}"#, "web   |   web|we|"),
        (r#"{{printf "%5d|%-5d|%05d|%+d" 42 42 -42 42}}"#, "   42|42   |-0042|+42"),
        (r#"{{printf "%q %v %v %t" .Name .Ports .None true}}"#, r#""web" [80 443] <nil> true"#),
        (r#"{{printf "%x %X %x %#x" 255 255 "hi" 255}}"#, "ff FF 6869 0xff"),
        (r#"{{printf "%.2f %f" .Ratio .Ratio}}"#, "0.50 0.500000"),
        (r#"{{printf "100%%"}}"#, "100%"),
        (
            r#"{{printf "%d" "hi"}} {{printf "%s"}} {{printf "x" 1}} {{printf "%"}}"#,
            "%!d(string=hi) %!s(MISSING) x%!(EXTRA int=1) %!(NOVERB)",
        ),
        (r#"{{.Name | printf "%s:%s" "a"}}"#, "a:web"),
    ]);
}

#[test]
fn comparisons_and_junctions_hold() {
    check(&[
        (r#"{{eq .Name "web"}} {{eq .Name "a" "web"}} {{ne .Replicas 3}}"#, "true true false"),
        ("{{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 1}} {{lt \"a\" \"b\"}}", "true true false true true"),
        ("{{eq .Big 9007199254740992}} {{eq 1 1.0}} {{eq .None nil}} {{eq .Name nil}}", "false true true false"),
        (
            "{{and .Name .Empty}}|{{and .Name .ID}}|{{or .Empty .Name}}|{{or .Zero .Empty}}|{{not .Empty}}",
            "|bnj2ap2i3evb|web||true",
        ),
        // What comes after the deciding operand is not evaluated.
        ("{{and .Empty (index .Ports 9)}}{{or .Name (index .Ports 9)}}", "web"),
        (r#"{{.Name | and true}} {{.Name | or false}}"#, "web web"),
    ]);
}

#[test]
fn conditions_choose_one_branch() {
    check(&[
        ("{{if .Name}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Empty}}yes{{else}}no{{end}}", "no"),
        ("{{if .Empty}}a{{else if .Zero}}b{{else if .Self}}c{{else}}d{{end}}", "c"),
        ("{{if .Nothing}}a{{end}}{{if .NoLabels}}b{{end}}{{if .None}}c{{end}}.", "."),
        ("{{with .Spec}}{{.Name}}{{$.Name}}{{else}}none{{end}}", "innerweb"),
        ("{{with .None}}x{{else}}none{{end}}", "none"),
        ("{{with .None}}x{{else with .Spec}}{{.Name}}{{end}}", "inner"),
        ("{{with $x := .Name}}{{$x}}{{.}}{{end}}", "webweb"),
    ]);
}

#[test]
fn loops_walk_lists_objects_and_nothing() {
    check(&[
        ("{{range .Ports}}<{{.}}>{{end}}", "<80><443>"),
        ("{{range $p := .Ports}}{{$p}};{{end}}", "80;443;"),
        ("{{range $i, $e := .Ports}}{{$i}}={{$e}} {{end}}", "0=80 1=443 "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}},{{end}}", "a.b=dotted,foo=bar,"),
        ("{{range .Nothing}}x{{else}}none{{end}}{{range .None}}x{{else}}none{{end}}", "nonenone"),
        ("{{range .Spec.Mounts}}{{.Source}}:{{.Target}} {{end}}", "s1:/a s2:/b "),
        ("{{range .Ports}}{{if eq . 443}}{{break}}{{end}}{{.}}{{end}}", "80"),
        ("{{range .Ports}}{{if eq . 80}}{{continue}}{{end}}{{.}}{{end}}", "443"),
        ("{{range split \"a b\" \" \"}}{{.}}{{$.Name}}{{end}}", "awebbweb"),
    ]);
}

#[test]
fn variables_live_in_their_block() {
    check(&[
        ("{{$x := .Name}}{{$x}}", "web"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$s := .Spec}}{{$s.Name}}", "inner"),
        ("{{$n := 0}}{{range $n = .Ports}}{{end}}{{$n}}", "443"),
    ]);
}

#[test]
fn lookups_take_an_argument() {
    check(&[
        (r#"{{.Label "foo"}}[{{.Label "nope"}}]{{$.Label "com.example.x"}}"#, "bar[]1"),
        (r#"{{.Labels "foo"}}[{{.Labels "nope"}}]"#, "bar[]"),
        (r#"{{if .Label "foo"}}yes{{end}}{{"foo" | .Label}}"#, "yesbar"),
    ]);
}

#[test]
fn a_missing_field_is_named_with_those_that_exist() {
    let text = "evaluate <.Foo> of the template at 1:3: can't evaluate field Foo; the fields here are Big, Empty, ID, Label, \
                Labels, Name, NoLabels, None, Nothing, Ports, Ratio, Replicas, Self, Spec, Zero";
    assert_eq!(chain("{{.Foo}}"), text);
    let text =
        "evaluate <.Spec.Nam> of the template at 2:5: can't evaluate field Nam; the fields here are Mounts, Name";
    assert_eq!(chain("line\nab{{.Spec.Nam}}"), text);
    let text = "evaluate <.Name.First> of the template at 1:3: can't evaluate field First of a text";
    assert_eq!(chain("{{.Name.First}}"), text);
    assert_eq!(
        chain("{{.None.A}}"),
        "evaluate <.None.A> of the template at 1:3: can't evaluate field A of an empty value"
    );
    let error = Template::parse("{{.nope}}").unwrap().render(&Row::new(json!({"lower": 1}))).unwrap_err();
    assert!(matches!(error, FormatError::Evaluate { problem: ValueProblem::NoField { .. }, .. }), "{error}");
    // A lookup belongs to the row, and not to what lies in it.
    assert!(chain("{{with .Spec}}{{.Label \"foo\"}}{{end}}").contains("can't evaluate field Label"));
}

#[test]
fn values_that_do_not_fit_are_named() {
    let cases = [
        ("{{.Name \"x\"}}", "it takes no argument"),
        ("{{3 4}}", "it takes no argument"),
        ("{{upper 3}}", "upper takes a text, not a number"),
        ("{{upper}}", "upper takes 1 arguments, not 0"),
        ("{{and}}", "and takes at least 1 arguments, not 0"),
        ("{{index .Ports 2}}", "index 2 is out of range for 2 elements"),
        ("{{index .Ports -1}}", "index -1 is out of range for 2 elements"),
        ("{{slice .Name 2 1}}", "index 2:1 is out of range for 3 elements"),
        ("{{slice .Name 4}}", "index 4 is out of range for 3 elements"),
        ("{{range .Name}}{{end}}", "range can't walk through a text"),
        ("{{lt .Name 3}}", "can't compare a text with a number"),
        ("{{eq .Self 1}}", "can't compare a truth value with a number"),
        ("{{pad .Name 999999 0}}", "999999 is more than the widest column of 10000 characters"),
        (r#"{{printf "%99999999999d" 1}}"#, "99999999999 is more than the widest column of 10000 characters"),
        ("{{len 3}}", "len takes a text, a list or an object, not a number"),
    ];
    for (source, problem) in cases {
        assert!(chain(source).ends_with(problem), "{source}: {}", chain(source));
    }
}

#[test]
fn bad_syntax_is_named_and_placed() {
    let cases = [
        ("ab {{.Name", "read the template at 1:4: the action is not closed with }}"),
        ("{{/* x", "read the template at 1:1: the comment is not closed with */}}"),
        ("{{\"x}}", "read the template at 1:3: the quoted text is not closed"),
        ("{{`x}}", "read the template at 1:3: the quoted text is not closed"),
        ("{{\"\\q\"}}", "read the template at 1:3: unknown escape in the quoted text"),
        ("{{1x}}", "read the template at 1:3: \"1x\" is not a number"),
        ("{{}}", "read the template at 1:3: unexpected }}, expected a value or a function"),
        ("{{.A | }}", "read the template at 1:7: unexpected }}, expected a value or a function"),
        ("{{(.A}}", "read the template at 1:6: unexpected }}, expected )"),
        ("{{.A)}}", "read the template at 1:5: unexpected ), expected }}"),
        ("{{$x}}", "read the template at 1:3: variable $x is not defined"),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "read the template at 1:32: variable $x is not defined"),
        ("{{if .A}}", "read the template at 1:3: {{if}} has no {{end}}"),
        ("{{end}}", "read the template at 1:8: unexpected {{end}}, expected text or an action"),
        ("{{break}}", "read the template at 1:3: {{break}} stands outside of {{range}}"),
        (
            "{{define \"x\"}}{{end}}",
            "read the template at 1:3: {{define}} is not supported here: write the text out in place",
        ),
        (
            "{{template \"x\"}}",
            "read the template at 1:3: {{template}} is not supported here: write the text out in place",
        ),
        ("{{.A ; .B}}", "read the template at 1:6: unexpected ';', expected a value, a function or }}"),
    ];
    for (source, text) in cases {
        assert_eq!(chain(source), text, "{source}");
    }
    let unknown = SyntaxProblem::UnknownFunction { name: "uper".to_owned(), known: super::functions::NAMES.join(", ") };
    assert_eq!(show("{{uper .Name}}"), Err(FormatError::ReadTemplate { line: 1, column: 3, problem: unknown }));
}

#[test]
fn nesting_has_a_bound() {
    let parens = format!("{{{{{}1{}}}}}", "(".repeat(5_000), ")".repeat(5_000));
    let blocks = "{{if true}}".repeat(5_000);
    for source in [parens, blocks] {
        let error = show(&source).unwrap_err();
        assert!(matches!(error, FormatError::ReadTemplate { problem: SyntaxProblem::TooDeep(64), .. }), "{error}");
    }
    assert_eq!(show(&format!("{}x{}", "{{if true}}".repeat(60), "{{end}}".repeat(60))).as_deref(), Ok("x"));
}

#[test]
fn loops_in_loops_end() {
    let list: Value = (0..100).collect();
    let source = format!("{}{}", "{{range $.L}}".repeat(8), "{{end}}".repeat(8));
    let error = Template::parse(&source).unwrap().render(&Row::new(json!({ "L": list }))).unwrap_err();
    assert!(matches!(error, FormatError::Evaluate { problem: ValueProblem::TooManySteps(_), .. }), "{error}");
}

/// Pieces that form templates more often than random letters do.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "{{", "}}", "{{- ", " -}}", ".", ".Name", ".Spec", ".Ports", "$", "$x", " := ", " = ", ", ", "|", " ", "(",
        ")", "if ", "else", "end", "range ", "with ", "break", "index ", "slice ", "printf ", "join ", "eq ", "and ",
        "len ", "\"%5d\"", "\"", "`", "'a'", "/*", "*/", "1", "-2", "0.5", "nil", "true", "text", "\n", "é", "\\t",
    ];
    prop::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(source in ".{0,60}") {
        let _ = show(&source);
    }

    #[test]
    fn arbitrary_words_never_panic(pieces in prop::collection::vec(piece(), 0..24)) {
        let _ = show(&pieces.concat());
    }

    #[test]
    fn arbitrary_actions_never_panic(pieces in prop::collection::vec(piece(), 0..8)) {
        let _ = show(&format!("{{{{{}}}}}", pieces.concat()));
    }

    #[test]
    fn text_without_actions_is_kept(source in "[^{\\\\]{0,40}") {
        prop_assert_eq!(show(&source), Ok(source));
    }
}
