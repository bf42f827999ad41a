//! The time in which a certificate chain is valid.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// A certificate with fewer days left expires soon.
pub(super) const SOON_DAYS: i64 = 14;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The validity of each certificate of a file.
#[derive(Clone, Debug)]
pub struct Validity {
    path: PathBuf,
    /// In the order of the file: the server's certificate first. None if it cannot be read.
    certificates: Vec<Option<Span>>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: Timestamp,
    until: Timestamp,
}

/// A problem of a certificate. Its text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of problem.
    pub fault: Fault,
    path: PathBuf,
    /// The certificate's place in the file, and the number of certificates in the file.
    place: (usize, usize),
}

/// The kind of problem of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Its end is near.
    EndsSoon {
        /// When it ends.
        until: Timestamp,
        /// Whole days until then.
        days: i64,
    },
    /// It has ended.
    Ended {
        /// When it ended.
        until: Timestamp,
    },
    /// It has not begun.
    NotBegun {
        /// When it begins.
        from: Timestamp,
    },
}

impl Fault {
    /// Whether clients refuse the certificate now.
    #[must_use]
    pub fn is_refused(self) -> bool {
        !matches!(self, Self::EndsSoon { .. })
    }
}

impl Validity {
    pub(super) fn of(path: PathBuf, chain: &[CertificateDer<'_>]) -> Self {
        let certificates = chain.iter().map(|der| Span::of(der)).collect();
        Self { path, certificates }
    }

    /// The problems at `now`, by certificate.
    #[must_use]
    pub fn findings(&self, now: Timestamp) -> Vec<Finding> {
        let count = self.certificates.len();
        let of_each = self.certificates.iter().zip(1..);
        let faults = of_each.filter_map(|(span, number)| {
            let fault = span.as_ref()?.fault(now)?;
            Some(Finding {
                fault,
                path: self.path.clone(),
                place: (number, count),
            })
        });
        faults.collect()
    }

    /// The time at which the first certificate of the chain expires; none if none can be read.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        let spans = self.certificates.iter().flatten();
        spans.map(|span| span.until).min()
    }
}

impl Span {
    fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp());
        Some(Self {
            from: time(validity.not_before).ok()?,
            until: time(validity.not_after).ok()?,
        })
    }

    fn fault(self, now: Timestamp) -> Option<Fault> {
        let Self { from, until } = self;
        let left = until.as_second() - now.as_second();
        if now < from {
            Some(Fault::NotBegun { from })
        } else if left < 0 {
            Some(Fault::Ended { until })
        } else if left < SOON_DAYS * DAY_SECONDS {
            let days = left / DAY_SECONDS;
            Some(Fault::EndsSoon { until, days })
        } else {
            None
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            (1, _) => f.write_str("the certificate")?,
            (number, count) => write!(f, "the CA certificate (number {number} of {count})")?,
        }
        write!(f, " in {} ", self.path.display())?;
        match self.fault {
            Fault::EndsSoon { until, days } => write!(
                f,
                "expires on {}, in {days} days; renew it, and restart the gateway",
                date(until)
            ),
            Fault::Ended { until } => write!(
                f,
                "expired on {}: clients refuse it; renew it, and restart the gateway",
                date(until)
            ),
            Fault::NotBegun { from } => write!(
                f,
                "is not valid before {}: clients refuse it; check the clock of this machine, or \
                 use another certificate",
                date(from)
            ),
        }
    }
}

fn date(time: Timestamp) -> impl fmt::Display {
    time.strftime("%Y-%m-%d %H:%M UTC")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    /// A certificate that is valid from and until this many seconds after [`NOW`].
    fn certificate(from: i64, until: i64) -> CertificateDer<'static> {
        let time = |after: i64| {
            let seconds = u64::try_from(NOW + after).unwrap();
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        };
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = time(from).into();
        params.not_after = time(until).into();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn said(chain: &[(i64, i64)]) -> Vec<(String, bool)> {
        let chain: Vec<_> = chain
            .iter()
            .map(|&(from, until)| certificate(from, until))
            .collect();
        let findings =
            Validity::of("chain.pem".into(), &chain).findings(Timestamp::from_second(NOW).unwrap());
        let said = findings
            .into_iter()
            .map(|finding| (finding.to_string(), finding.fault.is_refused()));
        said.collect()
    }

    #[test]
    fn the_end_of_each_certificate_is_judged_with_its_date() {
        let (day, year) = (DAY_SECONDS, 365 * DAY_SECONDS);
        let good = (-day, year);
        let check = |chain: &[(i64, i64)], expected: &[(&str, bool)]| {
            let said = said(chain);
            assert_eq!(said.len(), expected.len(), "{said:?}");
            for ((text, refused), (part, expected)) in said.iter().zip(expected) {
                assert!(text.contains(part), "{part:?} is not in {text:?}");
                assert_eq!(refused, expected, "{text}");
            }
        };
        check(&[good], &[]);
        check(&[good, good, good], &[]);
        check(&[(0, SOON_DAYS * day)], &[]);
        check(
            &[(-day, SOON_DAYS * day - 1)],
            &[(
                "the certificate in chain.pem expires on 2027-01-29 07:59 UTC, in 13 days",
                false,
            )],
        );
        check(&[(-day, 0)], &[("in 0 days", false)]);
        check(&[(-year, -1)], &[("expired on 2027-01-15 07:59 UTC", true)]);
        check(
            &[(1, year)],
            &[("not valid before 2027-01-15 08:00 UTC", true)],
        );
        check(
            &[good, (-year, -day)],
            &[(
                "the CA certificate (number 2 of 2) in chain.pem expired on 2027-01-14",
                true,
            )],
        );
        check(
            &[(-day, day), good, (-year, -day)],
            &[("in 1 days", false), ("number 3 of 3", true)],
        );
    }

    #[test]
    fn the_chain_ends_with_the_first_of_its_certificates() {
        let chain = [certificate(-10, 5000), certificate(-10, 3000)];
        let validity = Validity::of("chain.pem".into(), &chain);
        assert_eq!(validity.until().unwrap().as_second(), NOW + 3000);
        let foreign = [CertificateDer::from(vec![1, 2, 3])];
        let validity = Validity::of("chain.pem".into(), &foreign);
        assert_eq!(validity.until(), None);
        assert_eq!(validity.findings(Timestamp::UNIX_EPOCH), []);
    }
}
