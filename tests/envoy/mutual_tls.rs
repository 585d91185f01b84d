//! The way between controller and Envoy, where both have to prove who they are.

use std::sync::Arc;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use waggle_controller::envoy::resources;
use waggle_controller::routing::Routes;
use waggle_controller::xds::{Snapshot, Snapshots, Tls};
use waggle_filter::config::InfoHeaders;
use waggle_tests::authority::Authority;
use waggle_tests::program::free_address;

use crate::world::{serve, settings, start_envoy};

/// The flags of `waggle bootstrap` for an Envoy that trusts one authority and shows the certificate
/// of another.
fn flags(trusted: &Authority, signer: &Authority, folder: &TempDir) -> [String; 6] {
    let own = signer.sign("envoy").unwrap();
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    [
        "--xds-ca".into(),
        file("ca.pem", trusted.pem()),
        "--xds-cert".into(),
        file("cert.pem", &own.certificate),
        "--xds-key".into(),
        file("key.pem", &own.key),
    ]
}

#[test]
fn an_envoy_and_a_controller_prove_who_they_are() {
    let (ours, theirs) = (Authority::new().unwrap(), Authority::new().unwrap());
    let controller = ours.sign("localhost").unwrap();
    let tls = Tls {
        certificate: controller.certificate.into(),
        key: controller.key.into(),
        client_ca: ours.pem().into(),
    };
    let runtime = Runtime::new().unwrap();
    let settings = settings(free_address().unwrap().port(), InfoHeaders::Shown);
    let snapshot = Snapshot::new(resources(&Routes::default(), &settings)).unwrap();
    let (_snapshots, served) = watch::channel(Some(Arc::new(Snapshots::from(snapshot))));
    let port = serve(&runtime, served, Some(tls)).port();
    let start = |host: &str, signer: Option<&Authority>| {
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec!["--controller".to_owned(), format!("{host}:{port}")];
        arguments.extend(signer.map(|signer| flags(&ours, signer, &folder)).into_iter().flatten());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        (start_envoy(&arguments), folder)
    };

    let (mut envoy, _folder) = start("localhost", Some(&ours));
    envoy.wait_ready().unwrap();

    // The certificate of the controller is for another name.
    let (mut envoy, _folder) = start("127.0.0.1", Some(&ours));
    let failed = |stat: &'static str| {
        move |envoy: &waggle_tests::envoy::Envoy| Ok(envoy.stat(stat).unwrap_or_default() > 1)
    };
    envoy.wait_until("the name is refused", failed("cluster.xds.ssl.fail_verify_san")).unwrap();

    // The Envoy's own is of another authority, or there is none.
    for signer in [Some(&theirs), None] {
        let (mut envoy, _folder) = start("localhost", signer);
        let tried = failed("cluster.xds.upstream_cx_total");
        envoy.wait_until("the controller was asked twice", tried).unwrap();
        assert_eq!(envoy.stat("listener_manager.lds.update_success").unwrap(), 0);
        assert_eq!(envoy.stat("cluster_manager.cds.update_success").unwrap(), 0);
    }
}
