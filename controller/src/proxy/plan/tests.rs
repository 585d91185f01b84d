//! Tables of plans, and the property that a plan changes nothing else.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::swarm::{Network, ServiceName};

const GRACE: Duration = Duration::from_mins(10);

fn revision(spec: &str) -> Revision {
    let body = format!(r#"{{"ID":"p1","Version":{{"Index":7}},"Spec":{spec}}}"#);
    Revision::read(body.as_bytes()).expect("a service")
}

/// A specification with these lists and this label (JSON text, or nothing).
fn spec(networks: &Value, secrets: &Value, ours: Option<&Value>) -> Revision {
    let labels = ours.map_or(json!({}), |ours| json!({"waggle.managed": ours.to_string()}));
    let template = json!({"ContainerSpec": {"Secrets": secrets}, "Networks": networks});
    revision(&json!({"Name": "proxy", "Labels": labels, "TaskTemplate": template}).to_string())
}

fn needs(networks: &[&str], secrets: &[&str]) -> Needs {
    Needs {
        networks: networks.iter().map(|id| NetworkId::new(*id)).collect(),
        secrets: secrets.iter().map(|name| SecretName::parse(name).expect("a name")).collect(),
    }
}

/// These needs in a Swarm with the networks `n1` to `n3` (`one` to `three`) and the secrets `cert`
/// and `key` (`x1` and `x2`).
fn wanted(networks: &[&str], secrets: &[&str]) -> Wanted {
    let known = [("n0", "ingress", Purpose::Ingress), ("n1", "one", Purpose::Tasks)];
    let known =
        known.into_iter().chain([("n2", "two", Purpose::Tasks), ("n3", "three", Purpose::Tasks)]);
    let known = known.map(|(id, name, purpose)| {
        let id = NetworkId::new(id);
        (id.clone(), Network { id, name: name.into(), purpose })
    });
    let picture = Picture {
        networks: known.collect(),
        secrets: Some(
            [("cert", "x1"), ("key", "x2")]
                .map(|(name, id)| (name.into(), SecretId::new(id)))
                .into(),
        ),
        ..Picture::default()
    };
    Wanted::new(needs(networks, secrets), &picture)
}

fn mount(id: &str, name: &str, file: &str) -> Value {
    json!({"File": {"Name": file, "UID": "0", "GID": "0", "Mode": 292}, "SecretID": id, "SecretName": name})
}

/// The update of a plan, and its new specification as a value.
fn update(plan: &Plan) -> (Update, Value) {
    let Plan::Update(update) = plan else { panic!("{plan:?}") };
    (update.clone(), serde_json::from_str(&update.spec).expect("JSON"))
}

fn planned(revision: &Revision, wanted: &Wanted) -> Plan {
    plan(revision, wanted, &Unneeded::new(), &BTreeSet::new(), GRACE, Instant::now())
        .expect("a plan")
        .0
}

#[test]
fn what_is_needed_exists_and_is_not_attached_is_attached_in_one_update() {
    let proxy = spec(&json!([{"Target": "n1", "Aliases": ["a"]}]), &json!([]), None);
    let (update, new) = update(&planned(&proxy, &wanted(&["n1", "n2", "n3"], &["cert", "key"])));
    assert_eq!(update.attached, needs(&["n2", "n3"], &["cert", "key"]));
    assert_eq!(update.detached, Needs::default());
    let template = &new["TaskTemplate"];
    assert_eq!(
        template["Networks"],
        json!([{"Target": "n1", "Aliases": ["a"]}, {"Target": "n2"}, {"Target": "n3"}])
    );
    assert_eq!(
        template["ContainerSpec"]["Secrets"],
        json!([mount("x1", "cert", "cert"), mount("x2", "key", "key")])
    );
    let ours = r#"{"networks":["n2","n3"],"secrets":["cert","key"]}"#;
    assert_eq!(new["Labels"]["waggle.managed"], ours);
}

#[test]
fn a_service_that_was_updated_as_planned_needs_nothing_more() {
    let wanted = wanted(&["n1", "n2"], &["cert"]);
    let (update, _) = update(&planned(&spec(&json!(null), &json!(null), None), &wanted));
    assert_eq!(planned(&revision(&update.spec), &wanted), Plan::Nothing);
}

#[test]
fn nothing_is_planned_where_nothing_lacks() {
    let no = json!(null);
    for (networks, secrets, needs, why) in [
        (no.clone(), no.clone(), wanted(&[], &[]), "nothing is needed"),
        (json!([{"Target": "n1"}]), no.clone(), wanted(&["n1"], &[]), "it is attached"),
        (json!([{"Target": "one"}]), no.clone(), wanted(&["n1"], &[]), "it is attached by name"),
        (json!([{"Target": "n2"}]), no.clone(), wanted(&[], &[]), "its owner attached it"),
        (no.clone(), no.clone(), wanted(&["n9"], &["gone"]), "what is needed does not exist"),
        (no.clone(), no.clone(), wanted(&["n0"], &[]), "ingress is nobody's to attach"),
        (
            no.clone(),
            json!([mount("x1", "cert", "/etc/envoy/cert.pem")]),
            wanted(&[], &["cert"]),
            "it is mounted elsewhere",
        ),
    ] {
        assert_eq!(planned(&spec(&networks, &secrets, None), &needs), Plan::Nothing, "{why}");
    }
}

#[test]
fn where_secrets_may_not_be_read_networks_are_attached_all_the_same() {
    let networks = [("n1", "one")].map(|(id, name)| {
        let id = NetworkId::new(id);
        (id.clone(), Network { id, name: name.into(), purpose: Purpose::Tasks })
    });
    let picture = Picture { networks: networks.into(), secrets: None, ..Picture::default() };
    let wanted = Wanted::new(needs(&["n1"], &["cert"]), &picture);
    let (update, _) = update(&planned(&spec(&json!([]), &json!([]), None), &wanted));
    assert_eq!(update.attached, needs(&["n1"], &[]));
}

#[test]
fn a_secret_whose_file_another_one_has_is_told_and_costs_nothing_else() {
    for file in ["cert", "/run/secrets/cert"] {
        let proxy = spec(&json!([]), &json!([mount("x9", "own", file)]), None);
        let wanted = wanted(&["n1"], &["cert", "key"]);
        let planned =
            plan(&proxy, &wanted, &Unneeded::new(), &BTreeSet::new(), GRACE, Instant::now());
        let (plan, _, blocked) = planned.expect("a plan");
        assert_eq!(blocked, needs(&[], &["cert"]).secrets, "{file}");
        assert_eq!(update(&plan).0.attached, needs(&["n1"], &["key"]), "{file}");
    }
}

#[test]
fn networks_where_old_clients_wrote_them_are_not_lost() {
    let old = r#"{"Name":"proxy","TaskTemplate":{"Networks":[]},"Networks":[{"Target":"n1"}]}"#;
    assert_eq!(planned(&revision(old), &wanted(&["n1"], &[])), Plan::Nothing);
    let (_, new) = update(&planned(&revision(old), &wanted(&["n2"], &[])));
    assert_eq!(new["TaskTemplate"]["Networks"], json!([{"Target": "n1"}, {"Target": "n2"}]));
    assert_eq!(new["Networks"], json!([{"Target": "n1"}]));
}

#[test]
fn only_what_controllers_attached_is_ever_detached_and_only_after_the_grace() {
    let ours = json!({"networks": ["n2", "n8"], "secrets": ["cert"]});
    let networks = json!([{"Target": "n1"}, {"Target": "n2"}, {"Target": "n3"}]);
    let elsewhere = mount("x1", "cert", "/etc/cert");
    let secrets = json!([mount("x1", "cert", "cert"), elsewhere, mount("x2", "key", "key")]);
    let proxy = spec(&networks, &secrets, Some(&ours));
    let wanted = wanted(&["n3"], &[]);
    let start = Instant::now();
    let at = |seen: &Unneeded, after: Duration| {
        plan(&proxy, &wanted, seen, &BTreeSet::new(), GRACE, start + after).expect("a plan")
    };
    let (first, seen, _) = at(&Unneeded::new(), Duration::ZERO);
    assert_eq!(first, Plan::Until(start + GRACE));
    let (early, seen, _) = at(&seen, GRACE.checked_sub(Duration::from_secs(1)).expect("time"));
    assert_eq!(early, Plan::Until(start + GRACE));
    let (late, _, _) = at(&seen, GRACE);
    let (update, new) = update(&late);
    assert_eq!(update.detached, needs(&["n2"], &["cert"]));
    let template = &new["TaskTemplate"];
    assert_eq!(template["Networks"], json!([{"Target": "n1"}, {"Target": "n3"}]));
    assert_eq!(template["ContainerSpec"]["Secrets"], json!([elsewhere, mount("x2", "key", "key")]));
    assert_eq!(new["Labels"]["waggle.managed"], "{}");
}

#[test]
fn a_need_that_comes_back_begins_the_grace_anew() {
    let proxy = spec(&json!([{"Target": "n2"}]), &json!([]), Some(&json!({"networks": ["n2"]})));
    let start = Instant::now();
    let mut seen = Unneeded::new();
    for (after, networks, expected) in [
        (0, &[][..], Plan::Until(start + GRACE)),
        (9, &["n2"][..], Plan::Nothing),
        (11, &[], Plan::Until(start + Duration::from_mins(21))),
    ] {
        let now = start + Duration::from_mins(after);
        let (planned, noted, _) =
            plan(&proxy, &wanted(networks, &[]), &seen, &BTreeSet::new(), GRACE, now)
                .expect("a plan");
        assert_eq!(planned, expected, "after {after} minutes");
        seen = noted;
    }
}

#[test]
fn a_secret_that_may_no_longer_be_read_is_still_needed() {
    let ours = json!({"secrets": ["cert"]});
    let proxy = spec(&json!([]), &json!([mount("x1", "cert", "cert")]), Some(&ours));
    let wanted = Wanted::new(needs(&[], &["cert"]), &Picture::default());
    assert_eq!(planned(&proxy, &wanted), Plan::Nothing);
}

#[test]
fn an_update_for_something_else_detaches_nothing_early() {
    let proxy = spec(&json!([{"Target": "n2"}]), &json!([]), Some(&json!({"networks": ["n2"]})));
    let (update, new) = update(&planned(&proxy, &wanted(&["n1"], &[])));
    assert_eq!(update.detached, Needs::default());
    assert_eq!(new["TaskTemplate"]["Networks"], json!([{"Target": "n2"}, {"Target": "n1"}]));
    assert_eq!(new["Labels"]["waggle.managed"], r#"{"networks":["n1","n2"]}"#);
}

#[test]
fn what_is_refused_is_neither_attached_nor_detached_and_holds_nothing_else_up() {
    let ours = json!({"networks": ["n1", "n2"]});
    let proxy = spec(&json!([{"Target": "n1"}, {"Target": "n2"}]), &json!([]), Some(&ours));
    let refused = needs(&["n1", "n3"], &["cert"]).items().collect();
    let start = Instant::now();
    let seen = Unneeded::from(["n1", "n2"].map(|id| (Item::Network(NetworkId::new(id)), start)));
    for (wanted, after, attached, detached) in [
        (wanted(&["n3"], &["cert", "key"]), Duration::ZERO, needs(&[], &["key"]), needs(&[], &[])),
        (wanted(&["n3"], &["cert"]), GRACE, needs(&[], &[]), needs(&["n2"], &[])),
    ] {
        let planned = plan(&proxy, &wanted, &seen, &refused, GRACE, start + after);
        let (update, _) = update(&planned.expect("a plan").0);
        assert_eq!((update.attached, update.detached), (attached, detached));
    }
    let wanted = wanted(&["n2", "n3"], &[]);
    let planned = plan(&proxy, &wanted, &seen, &refused, GRACE, start + GRACE).expect("a plan");
    assert_eq!(planned.0, Plan::Nothing);
}

#[test]
fn a_label_that_no_controller_wrote_gives_nothing_away() {
    for label in
        [json!("nonsense"), json!("[1]"), json!(r#"{"networks":7}"#), json!(7), json!(null)]
    {
        let text = json!({
            "Name": "proxy",
            "Labels": {"waggle.managed": label},
            "TaskTemplate": {"Networks": [{"Target": "n2"}]},
        });
        let proxy = revision(&text.to_string());
        assert_eq!(planned(&proxy, &wanted(&[], &[])), Plan::Nothing, "{label}");
    }
}

#[test]
fn what_an_owner_keeps_secret_is_not_shown() {
    let text = r#"{"Name":"proxy","TaskTemplate":{"ContainerSpec":{"Env":["PASSWORD=hidden"]}}}"#;
    let plan = planned(&revision(text), &wanted(&["n1"], &[]));
    assert!(update(&plan).0.spec.contains("hidden"));
    assert!(!format!("{plan:?}").contains("hidden"), "{plan:?}");
}

#[test]
fn a_specification_that_is_odd_is_an_error_and_no_update() {
    for odd in [
        r#"{"Name":"proxy","TaskTemplate":[]}"#,
        r#"{"Name":"proxy","TaskTemplate":{"Networks":{}}}"#,
        r#"{"Name":"proxy","TaskTemplate":{"Networks":[{"Target":7}]}}"#,
        r#"{"Name":"proxy","TaskTemplate":{"ContainerSpec":{"Secrets":[{}]}}}"#,
    ] {
        let wanted = wanted(&["n1"], &[]);
        let planned = plan(
            &revision(odd),
            &wanted,
            &Unneeded::new(),
            &BTreeSet::new(),
            GRACE,
            Instant::now(),
        );
        assert!(planned.is_err(), "{odd}");
    }
}

/// Members of an object that nobody here knows, written in ways that no typed reader keeps.
fn strange_members() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("1e3".to_owned()),
        Just("-0.0".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("0.1000000000000000055511151231257827".to_owned()),
        Just("{ \"b\" : [ 1 ,\t2 ] , \"a\":null }".to_owned()),
        Just(r#""\u0041\/\ud83d\ude00  x""#.to_owned()),
        Just("[[],{},\n \"\"]".to_owned()),
        "\"[a-z ]{0,8}\"",
        any::<f64>()
            .prop_filter("JSON has none", |it| it.is_finite())
            .prop_map(|it| it.to_string()),
    ];
    // No member that is edited begins so; and some names are there twice.
    let member = ("\"x[a-c]\"", "[ \n]{0,2}:[ \t]{0,2}", value, "[ \n]{0,2},[ ]{0,2}");
    prop::collection::vec(
        member.prop_map(|(key, colon, value, end)| key + &colon + &value + &end),
        0..5,
    )
    .prop_map(|members| members.concat())
}

proptest! {
    /// The new specification is the old one, byte for byte, but for the two lists and the label.
    #[test]
    fn everything_else_keeps_every_byte(
        [a, b, c, d, e] in [strange_members(), strange_members(), strange_members(), strange_members(), strange_members()],
        element in strange_members(),
        space in "[ \n\t]{0,3}",
    ) {
        let old = format!(r#"{{{element}"Target"{space}:"n1"}}"#);
        let own = format!(r#"{{{element}"SecretID":"x9","SecretName":"own","File":{{"Name":"own"}}}}"#);
        let write = |networks: &str, secrets: &str, labels: &str| format!(
            r#"{{{a}"Name":"proxy",{b}"Labels":{space}{{{c}"z":"1"{labels}}},"TaskTemplate":{space}{{{d}"ContainerSpec":{{{e}"Secrets":{space}{secrets}{space}}},"Networks":{networks}{space}}}{space}}}"#
        );
        let before = write(&format!("[{space}{old}{space}]"), &format!("[{own}]"), &space);
        let new_secret = r#"{"File":{"GID":"0","Mode":292,"Name":"cert","UID":"0"},"SecretID":"x1","SecretName":"cert"}"#;
        let expected = write(
            &format!(r#"[{old},{{"Target":"n2"}}]"#),
            &format!("[{own},{new_secret}]"),
            &format!(r#"{space},"waggle.managed":"{{\"networks\":[\"n2\"],\"secrets\":[\"cert\"]}}""#),
        );
        let (update, _) = update(&planned(&revision(&before), &wanted(&["n1", "n2"], &["cert"])));
        prop_assert_eq!(&update.spec, &expected);
        // And back again, when nothing of it is needed any more.
        let after = revision(&update.spec);
        let start = Instant::now();
        let bare = wanted(&[], &[]);
        let (_, seen, _) = plan(&after, &bare, &Unneeded::new(), &BTreeSet::new(), GRACE, start).expect("a plan");
        let (removal, _, _) = plan(&after, &bare, &seen, &BTreeSet::new(), GRACE, start + GRACE).expect("a plan");
        let Plan::Update(removal) = removal else { panic!("{removal:?}") };
        let label = format!(r#"{space},"waggle.managed":"{{}}""#);
        prop_assert_eq!(removal.spec, write(&format!("[{old}]"), &format!("[{own}]"), &label));
    }

    #[test]
    fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,100}") {
        for body in [body.as_slice(), text.as_bytes()] {
            if let Ok(revision) = Revision::read(body) {
                let _ = plan(&revision, &wanted(&["n1"], &[]), &Unneeded::new(), &BTreeSet::new(), GRACE, Instant::now());
            }
        }
    }
}

#[test]
fn a_revision_knows_its_name_and_version() {
    let read = revision(r#"{"Name":"proxy"}"#);
    assert_eq!((read.name, read.version), (ServiceName::new("proxy"), 7));
}
