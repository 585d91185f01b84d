use proptest::prelude::{ProptestConfig, Strategy, prop_assert_eq, proptest};

use super::*;
use crate::labels::testing::{a_service, a_swarm};
use crate::swarm::{Scale, SecretId};

/// A service that needs no more labels, but for its network.
const GOOD: &str = "deploy: {labels: {com.docker.lb.hosts: a.example, com.docker.lb.port: 80}}";

fn environment(name: &str) -> Option<String> {
    (name == "SET").then(|| "set.example".to_owned())
}

fn stack(name: &str, text: &str) -> Result<Stack, Unreadable> {
    let source = Source { name: name.into(), text: text.to_owned() };
    compose::read(&source, None, &environment)
}

/// What is told of some files, each with the name that it has, in a line each.
fn told_in(
    running: Option<Picture>,
    settings: &routing::Settings,
    files: &[(&str, &str)],
) -> Vec<String> {
    let stacks = files.iter().map(|(name, text)| stack(name, text).expect("a Compose file"));
    let (_, mut findings) = examine(stacks.collect(), Files::StackEach, running, settings);
    findings.sort();
    let line = |it: &Finding| {
        let service = it.service.as_deref().unwrap_or_default();
        let label = it.label.as_deref().unwrap_or_default();
        let value = it.value.as_deref().unwrap_or_default();
        let parts = [&*it.place.to_string(), it.code, service, label, value].map(str::to_owned);
        parts.join(" ").replace("com.docker.lb.", "").trim_end().to_owned()
    };
    findings.iter().map(line).collect()
}

fn settings() -> routing::Settings {
    routing::Settings {
        share_hosts: ShareHosts::Any,
        proxy_networks: [].into(),
        proxies: [].into(),
        linger: Duration::ZERO,
    }
}

fn told(text: &str) -> Vec<String> {
    told_in(None, &settings(), &[("shop.yml", text)])
}

#[test]
fn labels_are_read_as_a_map_or_a_list_and_told_in_their_line() {
    let as_map = "services:
  web:
    deploy:
      labels:
        com.docker.lb.hosts: a.example
        com.docker.lb.port: 80a
        other.label: $NONE
        another.label: true
";
    let as_list = "services:
  web:
    deploy:
      labels:
        - com.docker.lb.hosts=a.example
        - com.docker.lb.port=80a
        - other.label=$NONE
        - another.label
";
    for text in [as_map, as_list] {
        assert_eq!(told(text), ["shop.yml:6 bad-port shop_web port 80a"], "{text}");
    }
}

#[test]
fn a_merged_label_is_told_where_it_is_written() {
    let text = "x-a: &a
  com.docker.lb.hosts: a b
  com.docker.lb.port: 80
services:
  web:
    deploy:
      labels:
        <<: *a
        com.docker.lb.port: x
";
    let hosts = ["bad-host", "no-hosts"].map(|it| format!("shop.yml:2 {it} shop_web hosts a b"));
    assert_eq!(told(text), [&hosts[..], &["shop.yml:9 bad-port shop_web port x".into()]].concat());
}

#[test]
fn a_missing_label_is_told_where_the_service_begins() {
    let text = "services:\n\n  web: {deploy: {labels: [com.docker.lb.hosts=a.example]}}\n";
    assert_eq!(told(text), ["shop.yml:3 missing-port shop_web port"]);
}

#[test]
fn a_label_whose_value_is_elsewhere_is_told_at_its_key() {
    let text = "services:
  web:
    deploy:
      labels:
        com.docker.lb.hosts: a.example
        com.docker.lb.port:
          x
";
    assert_eq!(told(text), ["shop.yml:6 bad-port shop_web port x"]);
}

#[test]
fn nothing_that_is_printed_speaks_to_the_terminal() {
    let text =
        "services: {\"\\e[2J\": {deploy: {labels: [\"com.docker.lb.port=\\e${NONE}\\r\\n\"]}}}";
    let (services, findings) = examine(
        vec![stack("\u{7}.yml", text).expect("a Compose file")],
        Files::StackEach,
        None,
        &settings(),
    );
    for format in [Format::Text, Format::Github] {
        let mut out = Vec::new();
        let summary = print::Summary { files: 1, services };
        print::print(format, &findings, summary, &mut out).expect("a print");
        let out = anstream::adapter::strip_bytes(&out).into_vec();
        let unsafe_bytes = out.iter().filter(|byte| **byte < b' ' && **byte != b'\n');
        assert_eq!(unsafe_bytes.count(), 0, "{}", String::from_utf8_lossy(&out).escape_debug());
        assert!(String::from_utf8_lossy(&out).contains(r"_\u{1b}[2J: "), "{out:?}");
    }
}

#[test]
fn container_labels_are_misplaced() {
    let text = "services:\n  web:\n    labels:\n    - com.docker.lb.port=80\n    - traefik.x=y\n";
    assert_eq!(told(text), ["shop.yml:4 misplaced-labels shop_web port 80"]);
}

#[test]
fn a_service_without_labels_of_ours_is_left_alone() {
    let text = "services:
  db: {networks: [nowhere], deploy: {replicas: \"${NONE}\", labels: [a=$NONE, b=$]}}
  nothing: {deploy: , labels: , networks: }
";
    assert_eq!(told(text), <[&str; 0]>::default());
}

#[test]
fn scalars_mean_what_compose_makes_of_them() {
    let text = "services:
  web:
    deploy:
      labels: {com.docker.lb.default_backend: yes, com.docker.lb.port: 0x50}
";
    assert_eq!(told(text), <[&str; 0]>::default());
    let text = text.replace("yes", "true");
    assert_eq!(told(&text), ["shop.yml:4 boolean-label shop_web default_backend true"]);
}

#[test]
fn variables_are_replaced_and_unset_ones_are_told() {
    let text = |host: &str| {
        format!(
            "services: {{web: {{deploy: {{labels: [com.docker.lb.port=80, \"com.docker.lb.hosts={host}\"]}}}}}}"
        )
    };
    for (host, expected) in [
        ("${SET}", None),
        ("${NONE:-a.example}", None),
        ("${NONE}a.example", Some("unset-variable")),
        ("${NONE:?say it}a.example", Some("missing-variable")),
        ("a.example,$", Some("bad-variable")),
    ] {
        let told = told(&text(host));
        let line = |code| format!("shop.yml:1 {code} shop_web hosts {host}");
        assert_eq!(told, expected.map(line).into_iter().collect::<Vec<_>>(), "{host}");
    }
}

#[test]
fn a_long_value_is_cut() {
    let text = format!(
        "services: {{web: {{deploy: {{labels: {{com.docker.lb.port: \"${{NONE}}{}\"}}}}}}}}",
        "é".repeat(300)
    );
    let (_, findings) = examine(
        vec![stack("a.yml", &text).expect("a Compose file")],
        Files::StackEach,
        None,
        &settings(),
    );
    let unset = findings.iter().find(|it| it.code == "unset-variable").expect("told");
    assert_eq!(unset.value, Some(format!("${{NONE}}{}…", "é".repeat(193))));
}

#[test]
fn networks_have_the_names_that_a_deployment_gives_them() {
    for (networks, top, names) in [
        ("", "", "`shop_default`"),
        ("[front]", "{front: }", "`shop_front`"),
        ("[front]", "{front: {name: net}}", "`net`"),
        ("[front]", "{front: {external: true}}", "`front`"),
        ("[front]", "{front: {external: true, name: \"n$SET\"}}", "`nset.example`"),
        ("[front]", "{front: {external: {name: net}}}", "`net`"),
        ("[front]", "{front: {external: false}}", "`shop_front`"),
        ("", "{default: {name: net}}", "`net`"),
        ("{front: , back: {aliases: [x]}}", "{front: , back: }", "`shop_back`, `shop_front`"),
        (
            "[front, h, b]",
            "{front: , h: {external: true, name: host}, b: {driver: bridge}}",
            "`shop_front`",
        ),
    ] {
        let labels = "com.docker.lb.hosts: a, com.docker.lb.port: 80, com.docker.lb.network: x";
        let text = format!(
            "services:\n  web:\n    networks: {networks}\n    deploy: {{labels: {{{labels}}}}}\n\
             networks: {top}\n"
        );
        let stack = stack("shop.yml", &text).expect("a Compose file");
        let (_, findings) = examine(vec![stack], Files::StackEach, None, &settings());
        let messages: Vec<_> = findings.iter().map(|it| it.message.as_str()).collect();
        assert_eq!(messages.len(), 1, "{messages:?}");
        let choices = format!("only to {names}; ");
        assert!(messages[0].contains(&choices), "{networks} {top}: {messages:?}");
    }
}

#[test]
fn a_network_that_the_file_does_not_define_is_told() {
    let text = format!("services:\n  web:\n    networks:\n    - front\n    {GOOD}\n");
    assert_eq!(told(&text), ["shop.yml:4 undefined-network shop_web"]);
}

#[test]
fn a_service_without_a_network_that_a_proxy_can_reach_is_told() {
    let text = format!(
        "services:\n  web:\n    networks: [h]\n    {GOOD}\nnetworks: {{h: {{external: true, name: host}}}}\n"
    );
    assert_eq!(told(&text), ["shop.yml:2 no-network shop_web network"]);
}

#[test]
fn deploy_says_how_the_service_is_reached() {
    for (setting, expected) in [
        ("", &[][..]),
        ("endpoint_mode: vip", &[]),
        ("endpoint_mode: dnsrr", &["shop.yml:1 vip-without-address shop_web backend_mode vip"]),
    ] {
        let labels = "com.docker.lb.hosts=a,com.docker.lb.port=80,com.docker.lb.backend_mode=vip";
        let text = format!("services: {{web: {{deploy: {{labels: [{labels}], {setting}}}}}}}");
        assert_eq!(told(&text), expected, "{setting}");
    }
    for (mode, scale) in [
        ("{}", Scale::Replicated(1)),
        ("{replicas: 3}", Scale::Replicated(3)),
        ("{mode: replicated, replicas: 0}", Scale::Replicated(0)),
        ("{mode: global}", Scale::Global),
        ("{mode: replicated-job}", Scale::Job),
    ] {
        let stack = stack("a.yml", &format!("services: {{web: {{deploy: {mode}}}}}"));
        assert_eq!(stack.expect("a Compose file").services["web"].scale(), scale, "{mode}");
    }
}

#[test]
fn the_stack_is_named_by_option_file_path_or_folder() {
    let in_file = "name: My.Shop\nservices: {}";
    let named = |stack, path: &str, text: &str| {
        let source = Source { name: path.into(), text: text.to_owned() };
        compose::read(&source, stack, &environment).expect("a Compose file").name
    };
    for (option, path, text, name) in [
        (Some("opt"), "x/shop.yml", in_file, "opt"),
        (None, "x/shop.yml", in_file, "My.Shop"),
        (None, "x/shop.yml", "services: {}", "shop"),
        (None, "x/Shop 1.prod.yml", "services: {}", "shop1"),
        (None, "x/folder/compose.yml", "services: {}", "folder"),
        (None, "/_Fol.der/docker-compose.prod.yaml", "services: {}", "folder"),
        (None, "/compose.yml", "services: {}", "stack"),
    ] {
        assert_eq!(named(option, path, text), name, "{path}");
    }
}

#[test]
fn what_is_no_compose_file_is_refused_with_its_line() {
    for (text, line) in [
        ("", None),
        ("a: 1\n", None),
        ("- a\n", Some(1)),
        ("services: 5\n", Some(1)),
        ("services:\n  web: 5\n", Some(2)),
        ("services:\n  web:\n    deploy: x\n", Some(3)),
        ("services:\n  web:\n    deploy:\n      labels: x\n", Some(4)),
        (
            "services:\n  web:\n    deploy:\n      labels:\n        com.docker.lb.port: [1]\n",
            Some(5),
        ),
        ("services:\n  web:\n    networks: x\n", Some(3)),
        ("services: {}\nnetworks:\n- a\n", Some(3)),
    ] {
        assert_eq!(stack("a.yml", text).expect_err(text).line, line, "{text}");
    }
}

#[test]
fn files_meet_in_one_swarm() {
    let text = &format!("services: {{web: {{{GOOD}}}}}");
    let files = [("b.yml", &**text), ("a.yml", text)];
    let shared =
        ["a.yml:1 shares-host a_web hosts a.example", "b.yml:1 shares-host b_web hosts a.example"];
    assert_eq!(told_in(None, &settings(), &files), shared);
    // The service of the first file holds the host.
    let refusing = routing::Settings { share_hosts: ShareHosts::None, ..settings() };
    assert_eq!(told_in(None, &refusing, &files), ["a.yml:1 host-refused a_web hosts a.example"]);
}

#[test]
fn services_are_of_their_stack_and_the_first_in_a_file_is_the_oldest() {
    let file = &format!("services:\n  z: {{{GOOD}}}\n  a: {{{GOOD}}}\n");
    let files = [("one.yml", &**file), ("two.yml", file)];
    let told = |share_hosts| {
        let settings = routing::Settings { share_hosts, ..settings() };
        let mut told = told_in(None, &settings, &files);
        told.retain(|line| line.contains(" host-refused "));
        told
    };
    let refused = |service| format!("{service} hosts a.example");
    let others = [refused("two.yml:2 host-refused two_z"), refused("two.yml:3 host-refused two_a")];
    assert_eq!(told(ShareHosts::Stack), others);
    let all = [&[refused("one.yml:3 host-refused one_a")][..], &others].concat();
    assert_eq!(told(ShareHosts::None), all);
}

#[test]
fn a_service_in_two_files_is_one_only_if_the_files_are_one_stack() {
    let first = "services: {web: {deploy: {replicas: 3, labels: [com.docker.lb.hosts=a, com.docker.lb.port=x]}}}";
    let second = "services:\n  web: {deploy: {labels: {com.docker.lb.port: 80}}}";
    let stacks = || {
        let files = [("shop.yml", first), ("shop.prod.yml", second)];
        files.map(|(name, text)| stack(name, text).expect("a Compose file")).into()
    };
    let (_, findings) = examine(stacks(), Files::OneStack, None, &settings());
    assert_eq!(findings, []);
    let (_, findings) = examine(stacks(), Files::StackEach, None, &settings());
    let codes: Vec<_> = findings.iter().map(|it| (it.place.line, it.code)).collect();
    assert_eq!(codes, [(Some(2), "defined-twice"), (Some(1), "bad-port")]);
    assert_eq!(findings[0].service.as_deref(), Some("shop_web"));
}

#[test]
fn an_external_network_must_be_in_a_swarm_that_is_known() {
    let of = |name: &str| {
        format!(
            "services: {{web: {{networks: [net], {GOOD}}}}}\nnetworks: {{net: {{external: true, name: {name}}}}}"
        )
    };
    let running = || Some(a_swarm().picture);
    assert_eq!(told_in(running(), &settings(), &[("a.yml", &of("net"))]), <[&str; 0]>::default());
    let missing = ["a.yml:1 missing-network a_web"];
    assert_eq!(told_in(running(), &settings(), &[("a.yml", &of("other"))]), missing);
    assert_eq!(told_in(None, &settings(), &[("a.yml", &of("other"))]), <[&str; 0]>::default());
    let default = ("b.yml", "services: {x: {}}");
    let both = [("a.yml", &*of("b_default")), default];
    assert_eq!(told_in(running(), &settings(), &both), <[&str; 0]>::default());
    let maker = ("b.yml", "services: {}\nnetworks: {x: {name: other}}");
    let both = [("a.yml", &*of("other")), maker];
    assert_eq!(told_in(running(), &settings(), &both), <[&str; 0]>::default());
}

#[test]
fn hosts_of_running_services_are_held_by_them_and_their_own_problems_are_not_told() {
    let running = a_swarm()
        .service(a_service("old").serving("a.example").created_at(50))
        .service(a_service("a_gone").serving("b.example"))
        .service(a_service("broken").label("port", "x"));
    let refusing = routing::Settings { share_hosts: ShareHosts::None, ..settings() };
    let told = |text: &str| told_in(Some(running.picture.clone()), &refusing, &[("a.yml", text)]);
    let good = |name: &str| format!("services: {{{name}: {{{GOOD}}}}}");
    assert_eq!(told(&good("web")), ["a.yml:1 host-refused a_web hosts a.example"]);
    // A running service that is older does not take what another one holds.
    assert_eq!(told(&good("gone")), ["a.yml:1 host-refused a_gone hosts a.example"]);
    // The running service of the same name is replaced: what it held is free.
    let text = good("gone") + "\n" + "name: a";
    let free = text.replace("a.example", "b.example");
    assert_eq!(told(&free), <[&str; 0]>::default());
}

#[test]
fn a_service_that_runs_is_older_than_a_new_one() {
    let running = a_swarm().service(a_service("b_web")).picture;
    let refusing = routing::Settings { share_hosts: ShareHosts::None, ..settings() };
    let text = &format!("services: {{web: {{{GOOD}}}}}");
    let told = told_in(Some(running), &refusing, &[("a.yml", text), ("b.yml", text)]);
    assert_eq!(told, ["a.yml:1 host-refused a_web hosts a.example"]);
}

#[test]
fn a_running_service_keeps_its_last_valid_labels_as_in_the_controller() {
    let running = a_swarm().service(a_service("a_web").serving("a.example")).picture;
    let text = GOOD.replace("80", "x");
    let stack = stack("a.yml", &format!("services: {{web: {{{text}}}}}")).expect("a Compose file");
    let (_, findings) = examine(vec![stack], Files::StackEach, Some(running), &settings());
    assert_eq!(findings.len(), 1);
    assert!(findings[0].message.contains("the last valid value, `80`, holds"), "{findings:?}");
}

#[test]
fn the_files_secrets_join_those_of_a_swarm_that_tells_its_own() {
    let text = "services: {}\nsecrets: {own: , named: {name: n}, there: {external: true}}";
    let secrets = |running: Option<Picture>| {
        let stack = stack("a.yml", text).expect("a Compose file");
        let picture = deploy::deploy(vec![stack], Files::StackEach, running).picture;
        picture.secrets.map(|secrets| secrets.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(secrets(None), None);
    assert_eq!(secrets(Some(Picture::default())), None);
    let known = [("x".to_owned(), SecretId::new("1"))].into();
    let running = Picture { secrets: Some(known), ..Picture::default() };
    assert_eq!(secrets(Some(running)), Some(vec!["a_own".into(), "n".into(), "x".into()]));
}

/// What Compose files are made of, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "services:",
        "web:",
        "deploy:",
        "labels:",
        "networks:",
        "secrets:",
        "external:",
        "name:",
        "com.docker.lb.hosts",
        "com.docker.lb.port",
        "a.example",
        "80",
        "true",
        "null",
        "\n",
        "\n  ",
        "\n    ",
        "\n      ",
        " ",
        ": ",
        "- ",
        "=",
        "&a ",
        "*a",
        "<<: ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "${",
        "$A",
        ":-",
        "'",
        "\"",
        "|",
        ">",
        "#",
        "!!str ",
        "---",
        "\t",
        "%",
        "? ",
        "\\",
        "é",
    ]);
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_it_panic(text in proptest::prop_oneof![".*", "(?s).*", pieces()]) {
        let in_service = format!("services:\n  web:\n    deploy:\n      labels:\n        {text}");
        for text in [&text, &in_service] {
            let Ok(stack) = stack("a.yml", text) else { continue };
            let (_, findings) = examine(vec![stack], Files::StackEach, None, &settings());
            let summary = print::Summary { files: 1, services: 1 };
            for format in [Format::Text, Format::Json, Format::Github] {
                let mut out = Vec::new();
                print::print(format, &findings, summary, &mut out).expect("a print");
                let lines = String::from_utf8(out).expect("UTF-8");
                if format == Format::Github {
                    prop_assert_eq!(lines.lines().count(), findings.len());
                }
            }
        }
    }
}
