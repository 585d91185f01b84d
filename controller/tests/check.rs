//! `waggle check` as its users meet it: files in; text, JSON or annotations and a status out.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use axum::Router;
use axum::http::Uri;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

/// `waggle check` with these arguments, in `tests/check`, and nothing in its environment.
fn waggle(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waggle"));
    command.arg("check").args(arguments).env_clear();
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check"));
    command
}

fn output(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().expect("waggle runs");
    let stderr = String::from_utf8_lossy(&stderr);
    (status.code(), format!("{}{stderr}", String::from_utf8_lossy(&stdout)))
}

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    output(&mut waggle(arguments))
}

#[test]
fn files_without_problems_end_with_0() {
    let expected = (Some(0), "no problems in 2 labelled services of 1 file\n".to_owned());
    assert_eq!(check(&["clean.yml"]), expected);
    assert_eq!(check(&["--format", "json", "clean.yml"]), (Some(0), "[]\n".to_owned()));
    assert_eq!(check(&["--format", "github", "clean.yml"]), (Some(0), String::new()));
}

#[test]
fn a_problem_is_a_line_with_its_place_and_a_line_with_its_fix_and_ends_with_1() {
    let (status, text) = check(&["problems.yml"]);
    assert_eq!(status, Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    for (line, begins, ends) in [
        (0, "problems.yml:2: error: problems_web: com.docker.lb.port=80a: ", " [bad-port]"),
        (1, "    fix: in `deploy.labels`, write `com.docker.lb.port: ", ""),
        (
            2,
            "problems.yml:10: warning: problems_web: com.docker.lb.default_backend=100%, or: more: ",
            " [bad-boolean]",
        ),
        (4, "problems.yml:17: warning: problems_admin: com.docker.lb.netwrok=front: ", "]"),
        (
            5,
            "    fix: in `deploy.labels`, remove `com.docker.lb.netwrok`, write \
             `com.docker.lb.network: front`",
            "",
        ),
        (6, "1 error, 2 warnings in 2 labelled services of 1 file", ""),
    ] {
        assert!(lines[line].starts_with(begins) && lines[line].ends_with(ends), "{line}: {text}");
    }
    assert_eq!(lines.len(), 7, "{text}");
}

#[test]
fn json_has_the_fields_of_a_problem_in_the_status_and_its_place() {
    let (status, text) = check(&["--format", "json", "problems.yml"]);
    assert_eq!(status, Some(1), "{text}");
    let read: Value = serde_json::from_str(&text).expect("JSON");
    let first = &read[0];
    for (field, value) in [
        ("file", json!("problems.yml")),
        ("line", json!(2)),
        ("code", json!("bad-port")),
        ("severity", json!("error")),
        ("service_name", json!("problems_web")),
        ("label", json!("com.docker.lb.port")),
        ("value", json!("80a")),
    ] {
        assert_eq!(first[field], value, "{text}");
    }
    assert!(first["message"].is_string() && first["fix"].is_string(), "{text}");
}

#[test]
fn annotations_are_escaped_as_github_asks() {
    let (status, text) = check(&["--format", "github", "problems.yml", "no,such:100%.yml"]);
    assert_eq!(status, Some(2), "{text}");
    for begins in [
        "::error file=no%2Csuch%3A100%25.yml,title=unreadable-file::",
        "::error file=problems.yml,line=2,title=bad-port::problems_web: com.docker.lb.port=80a: ",
        "::warning file=problems.yml,line=10,title=bad-boolean::problems_web: \
         com.docker.lb.default_backend=100%25, or: more: ",
    ] {
        let line = text.lines().find(|line| line.starts_with(begins));
        let line = line.unwrap_or_else(|| panic!("{begins}\n{text}"));
        assert_eq!(line.matches("%0Afix: ").count(), 1, "{line}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn information_is_printed_and_is_no_problem() {
    let (status, text) = check(&["shared.yml"]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(text.matches("shared.yml:6: information: ").count(), 2, "{text}");
    let (_, text) = check(&["--format", "github", "shared.yml"]);
    assert_eq!(text.matches("::notice file=shared.yml,line=6,title=shares-host::").count(), 2);
}

#[test]
fn the_settings_of_the_controller_count() {
    let (status, text) = check(&["--share-hosts", "none", "shared.yml"]);
    assert_eq!((status, text.matches("[host-refused]").count()), (Some(1), 1), "{text}");
    let (status, text) = check(&["--proxy-network", "a,b", "--proxy-network", "c", "shared.yml"]);
    assert_eq!((status, text.matches("[network-without-proxy]").count()), (Some(1), 2), "{text}");
    let (status, text) = check(&["--proxy-network", "a,proxied", "shared.yml"]);
    assert_eq!(status, Some(0), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_ends_with_2_and_the_others_are_checked() {
    let (status, text) = check(&["nowhere.yml", "broken.yml", "problems.yml"]);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("\nnowhere.yml: error: No such file"), "{text}");
    assert!(text.contains("broken.yml:4: error: YAML: "), "{text}");
    assert!(text.contains("problems.yml:2: error: "), "{text}");
}

#[test]
fn a_file_can_come_from_the_standard_input() {
    let mut command = waggle(&["--stack", "shop", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("waggle runs");
    let text = b"services:\n  web:\n    deploy: {labels: [com.docker.lb.hosts=a.example]}\n";
    child.stdin.take().expect("a pipe").write_all(text).expect("written");
    let output = child.wait_with_output().expect("waggle ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("-:2: error: shop_web: com.docker.lb.port: "), "{text}");
}

#[test]
fn variables_come_from_the_environment() {
    let (status, text) = output(waggle(&["clean.yml"]).env("MAP_HOST", "a b"));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("com.docker.lb.hosts=a b: "), "{text}");
}

#[test]
fn colours_are_for_terminals() {
    let (_, piped) = check(&["problems.yml"]);
    assert!(!piped.contains('\u{1b}'), "{piped}");
    let (_, forced) = output(waggle(&["problems.yml"]).env("CLICOLOR_FORCE", "1"));
    assert!(forced.contains('\u{1b}'), "{forced}");
}

#[test]
fn the_examples_are_free_of_problems() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let files = std::fs::read_dir(folder).expect("examples").flatten().map(|file| file.path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|it| it == "yml")).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let file = file.to_str().expect("a path");
        let (status, text) = check(&[file]);
        assert_eq!(status, Some(0), "{text}");
    }
}

/// A manager's engine with one service, `blog_web` on `blog_net`, which holds `list.example`.
async fn answer(uri: Uri) -> axum::response::Response {
    let path = uri.path().trim_start_matches(|c: char| c.is_ascii_digit() || "/v.".contains(c));
    let service = json!({
        "ID": "s1",
        "Version": {"Index": 7},
        "CreatedAt": "2026-01-02T03:04:05Z",
        "Spec": {
            "Name": "blog_web",
            "Labels": {"com.docker.lb.hosts": "list.example", "com.docker.lb.port": "80"},
            "TaskTemplate": {"Networks": [{"Target": "n1"}]},
            "Mode": {"Replicated": {"Replicas": 1}},
        },
    });
    let body = match path {
        "ersion" | "version" => json!({"ApiVersion": "1.51", "MinAPIVersion": "1.44"}),
        "services" => json!([service]),
        "networks" => json!([{"Id": "n1", "Name": "blog_net", "Scope": "swarm"}]),
        "secrets" => json!([{"ID": "x1", "Spec": {"Name": "there"}}]),
        "events" => std::future::pending().await,
        _ => json!([]),
    };
    axum::Json(body).into_response()
}

/// Checks a file against that engine.
async fn check_against_swarm(file: &str) -> (Option<i32>, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let docker = format!("tcp://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    let arguments = ["--share-hosts", "none", "--docker", &docker, file].map(str::to_owned);
    let told =
        tokio::task::spawn_blocking(move || check(&arguments.each_ref().map(String::as_str)));
    told.await.expect("waggle runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_the_running_swarm_or_in_the_files() {
    let (status, text) = check_against_swarm("secrets.yml").await;
    assert_eq!(status, Some(1), "{text}");
    let told = "secrets.yml:11: error: secrets_missing: com.docker.lb.ssl_cert=gone: there is no secret `gone`";
    assert!(text.contains(told) && text.contains("1 error in 3 labelled services"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_swarm_has_networks_and_holds_hosts() {
    let (status, text) = check_against_swarm("clean.yml").await;
    assert_eq!(status, Some(1), "{text}");
    for line in [
        "clean.yml:7: error: clean_list: the Swarm has no network `proxied`",
        "clean.yml:10: error: clean_list: com.docker.lb.hosts=list.example: host `list.example` is \
         held by `blog_web`",
        "clean.yml:15: error: clean_map: the Swarm has no network `proxied`",
        "3 errors in 2 labelled services of 1 file",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn a_swarm_that_does_not_answer_ends_with_2() {
    for docker in ["--docker=unix:///nowhere/docker.sock", "--docker=nonsense"] {
        let (status, text) = check(&[docker, "clean.yml"]);
        assert_eq!(status, Some(2), "{text}");
        assert!(text.starts_with("waggle: ") && text.lines().count() == 1, "{text}");
    }
    let (status, text) =
        output(waggle(&["clean.yml", "--docker"]).env("DOCKER_HOST", "tcp://127.0.0.1:1"));
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("tcp://127.0.0.1:1"), "{text}");
}
