//! The way between controller and Envoy, where both have to prove who they are.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use waggle_controller::envoy::resources;
use waggle_controller::routing::Routing;
use waggle_controller::xds::{Snapshot, Tls};
use waggle_filter::config::InfoHeaders;
use waggle_tests::envoy::Envoy;
use waggle_tests::program::{eventually, free_address};

use crate::world::{serve, settings, start_envoy};

/// An authority and what it signs, in PEM.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        // By default all certificates have one name, and each would look self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The flags of `waggle bootstrap` for an Envoy that trusts one authority and shows the
    /// certificate of another.
    fn flags(&self, signer: &Self, folder: &TempDir) -> [String; 6] {
        let (cert, key) = signer.sign("envoy");
        let file = |name: &str, pem: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let [ca, cert, key] = [("ca.pem", &self.pem), ("cert.pem", &cert), ("key.pem", &key)]
            .map(|(name, pem)| file(name, pem));
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let [ca, cert, key] = [ca, cert, key].map(text);
        ["--xds-ca".into(), ca, "--xds-cert".into(), cert, "--xds-key".into(), key]
    }
}

#[test]
fn an_envoy_and_a_controller_prove_who_they_are() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (certificate, key) = ours.sign("localhost");
    let tls = Tls {
        certificate: certificate.into(),
        key: key.into(),
        client_ca: ours.pem.clone().into(),
    };
    let runtime = Runtime::new().unwrap();
    let settings = settings(free_address().unwrap().port(), InfoHeaders::Shown);
    let snapshot = Snapshot::new(resources(&Routing::default(), &settings)).unwrap();
    let (_snapshots, served) = watch::channel(Some(Arc::new(snapshot)));
    let port = serve(&runtime, served, Some(tls)).port();
    let start = |host: &str, signer: Option<&Authority>| {
        let folder = tempfile::tempdir().unwrap();
        let mut flags = vec!["--controller".to_owned(), format!("{host}:{port}")];
        flags.extend(signer.map(|signer| ours.flags(signer, &folder)).into_iter().flatten());
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        (start_envoy(&flags), folder)
    };

    let counts_up = |envoy: &Envoy, stat: &str| {
        let counted = async || Ok((envoy.stat(stat).unwrap_or_default() > 1).then_some(()));
        runtime.block_on(eventually(stat, counted)).unwrap();
    };

    let (mut envoy, _folder) = start("localhost", Some(&ours));
    runtime.block_on(envoy.wait_ready()).unwrap();

    // The certificate of the controller is for another name.
    let (envoy, _folder) = start("127.0.0.1", Some(&ours));
    counts_up(&envoy, "cluster.xds.ssl.fail_verify_san");

    // The Envoy's own is of another authority, or there is none.
    for signer in [Some(&theirs), None] {
        let (envoy, _folder) = start("localhost", signer);
        counts_up(&envoy, "cluster.xds.upstream_cx_total");
        assert_eq!(envoy.stat("listener_manager.lds.update_success").unwrap(), 0);
        assert_eq!(envoy.stat("cluster_manager.cds.update_success").unwrap(), 0);
    }
}
