//! Why a TLS handshake failed.

use std::io;

use rustls::{AlertDescription, Error, PeerIncompatible};

/// The reason, as in a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    /// It took too long.
    Timeout,
    /// The client hung up.
    Closed,
    /// What came is not TLS.
    NotTls,
    /// The two sides have no TLS version in common.
    NoSharedVersion,
    /// The two sides have no cipher in common.
    NoSharedCipher,
    /// The two sides have no HTTP protocol in common.
    NoSharedProtocol,
    /// The client does not know the CA of the certificate.
    UnknownCa,
    /// The client says that the certificate has expired.
    CertificateExpired,
    /// The client refuses the certificate for another reason.
    BadCertificate,
    /// The client gave another reason.
    OtherAlert,
    /// Anything else.
    Other,
}

impl Failure {
    pub(super) const ALL: [Self; 11] = [
        Self::Timeout,
        Self::Closed,
        Self::NotTls,
        Self::NoSharedVersion,
        Self::NoSharedCipher,
        Self::NoSharedProtocol,
        Self::UnknownCa,
        Self::CertificateExpired,
        Self::BadCertificate,
        Self::OtherAlert,
        Self::Other,
    ];

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::NoSharedVersion => "no_shared_version",
            Self::NoSharedCipher => "no_shared_cipher",
            Self::NoSharedProtocol => "no_shared_protocol",
            Self::UnknownCa => "unknown_ca",
            Self::CertificateExpired => "certificate_expired",
            Self::BadCertificate => "bad_certificate",
            Self::OtherAlert => "other_alert",
            Self::Other => "other",
        }
    }

    /// Whether strangers such as port scanners cause it all the time. Then it is no sign of a
    /// client that should be served.
    pub(super) fn is_common(self) -> bool {
        matches!(self, Self::Timeout | Self::Closed | Self::NotTls)
    }

    pub(super) fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(tls) = tls {
            return Self::of_tls(tls);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Closed,
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Other,
        }
    }

    fn of_tls(error: &Error) -> Self {
        use AlertDescription as Alert;
        match error {
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::PeerSentOversizedRecord => Self::NotTls,
            Error::NoApplicationProtocol => Self::NoSharedProtocol,
            Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon,
            ) => Self::NoSharedCipher,
            Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic,
            ) => Self::NoSharedVersion,
            Error::AlertReceived(alert) => match alert {
                Alert::UnknownCA => Self::UnknownCa,
                Alert::CertificateExpired => Self::CertificateExpired,
                Alert::BadCertificate
                | Alert::CertificateUnknown
                | Alert::CertificateRevoked
                | Alert::UnsupportedCertificate => Self::BadCertificate,
                Alert::ProtocolVersion => Self::NoSharedVersion,
                Alert::HandshakeFailure => Self::NoSharedCipher,
                Alert::NoApplicationProtocol => Self::NoSharedProtocol,
                Alert::CloseNotify | Alert::UserCanceled => Self::Closed,
                _ => Self::OtherAlert,
            },
            _ => Self::Other,
        }
    }
}
