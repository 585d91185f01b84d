//! Certificates: for mutual TLS between controller and Envoy, for hosts, for tasks.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

/// An authority that signs certificates.
#[derive(Debug)]
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// An authority with a key of its own.
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        // By default all certificates have one name, and each would look self-signed.
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for hosts' names, separated by commas; wildcards may be among them.
    pub fn sign(&self, names: &str) -> anyhow::Result<Signed> {
        self.issue(&params(names)?)
    }

    /// The same, valid until a day long past.
    pub fn sign_expired(&self, names: &str) -> anyhow::Result<Signed> {
        let mut params = params(names)?;
        params.not_after = date_time_ymd(2020, 1, 1);
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> anyhow::Result<Signed> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Signed { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn params(names: &str) -> anyhow::Result<CertificateParams> {
    Ok(CertificateParams::new(names.split(',').map(ToOwned::to_owned).collect::<Vec<_>>())?)
}
