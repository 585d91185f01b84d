//! TLS to an engine that is reached over the network (`dockerd --tlsverify`), and to a manager's
//! control socket.

use std::sync::Arc;
use std::{fmt, io};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// How an engine is spoken to over TLS.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Who the engine has to be.
#[derive(Debug, Clone, Copy)]
pub enum Engine<'a> {
    /// One that an authority (PEM) has signed, under the name that it is called by.
    SignedBy(&'a [u8]),
    /// Anyone (`AllowInsecure` of Interlock).
    Anyone,
}

/// Our own certificate chain and its key (PEM).
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The chain.
    pub certificate: &'a [u8],
    /// The key.
    pub key: &'a [u8],
}

/// Why there is no TLS to an engine. No content of a file is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority is no certificate.
    #[error("the authority is no certificate in PEM")]
    Authority,
    /// The certificate or the key is none.
    #[error("the certificate or its key is none in PEM")]
    Identity,
    /// They do not belong together, or are of a kind that is not known.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

impl Tls {
    /// TLS to this engine, under this identity if the engine asks for one.
    pub fn new(engine: Engine<'_>, identity: Option<Identity<'_>>) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match engine {
            Engine::SignedBy(authority) => {
                builder.with_root_certificates(roots(authority).ok_or(TlsError::Authority)?)
            }
            Engine::Anyone => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
            }
        };
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(certificate).collect();
                let chain = chain.map_err(|_| TlsError::Identity)?;
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Identity)?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn connector(&self) -> HttpsConnector<HttpConnector> {
        let builder = HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&self.0));
        builder.https_only().enable_http1().build()
    }

    /// Shakes hands over a stream, for HTTP/2: the other side has to prove this name.
    pub(super) async fn shake_hands(
        &self,
        name: ServerName<'static>,
        stream: UnixStream,
    ) -> io::Result<TlsStream<UnixStream>> {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn roots(authority: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Tls([redacted])")
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

/// Takes any certificate, as its owner asked for; the other side must hold its key all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
