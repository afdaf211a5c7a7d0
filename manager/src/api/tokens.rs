//! Join tokens: replaced, or made beside the standing ones.

use std::time::Duration;

use skep_proto::model::grant::make_room;
use skep_proto::model::{Cluster, Grant, JoinToken, Moment, NodeRole, TokenSecret};
use skep_proto::pb;

use super::error::ApiError;

/// Longest life of a limited token: a year. One that should live longer has no limit.
const LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Largest count of uses, a million: no cluster has more nodes.
const USES_MAX: u32 = 1_000_000;

/// What a new token is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    role: NodeRole,
    life: Option<Duration>,
    uses: Option<u32>,
}

impl Order {
    /// Checks what was asked for.
    ///
    /// # Errors
    /// When the role is none or a limit is out of its bounds.
    pub fn new(request: &pb::TokenRequest) -> Result<Self, ApiError> {
        let role = request.role().try_into()?;
        let life = Some(Duration::from_millis(request.lives_ms)).filter(|life| !life.is_zero());
        let uses = Some(request.uses).filter(|uses| *uses > 0);
        if life.is_some_and(|life| life > LIFE_MAX) {
            return Err(ApiError::TokenLife);
        }
        if uses.is_some_and(|uses| uses > USES_MAX) {
            return Err(ApiError::TokenUses { max: USES_MAX });
        }
        Ok(Self { role, life, uses })
    }

    /// Replaces the standing token of the role: whoever holds it, or another one of that role, can join no more; who has joined stays.
    ///
    /// # Errors
    /// When the token that is there cannot be read.
    pub fn rotate(self, cluster: &mut Cluster, secret: TokenSecret, now: Moment) -> Result<(), ApiError> {
        let old = standing(cluster, self.role).clone();
        let token = JoinToken { secret, ..old.parse()? }.to_string();
        let mut ended = 0;
        for grant in cluster.grants.iter_mut().filter(|grant| grant.role == self.role) {
            grant.is_rotated = true;
            ended += usize::from(grant.token == old);
        }
        // So that its bearers learn that it was replaced, and not that it never was one. With too many living ones, they do not.
        if ended == 0 && make_room(&mut cluster.grants, now) {
            cluster.grants.push(Grant { is_rotated: true, ..grant(old, self.role) });
        }
        if self.is_limited() {
            self.limit(cluster, token.clone(), now)?;
        }
        *standing(cluster, self.role) = token;
        Ok(())
    }

    /// Makes one more, with limits.
    ///
    /// # Errors
    /// When it has none, or there are too many.
    pub fn create(self, cluster: &mut Cluster, secret: TokenSecret, now: Moment) -> Result<(), ApiError> {
        if !self.is_limited() {
            return Err(ApiError::TokenUnlimited);
        }
        let token = JoinToken { secret, ..standing(cluster, self.role).parse()? }.to_string();
        self.limit(cluster, token, now)
    }

    fn is_limited(self) -> bool {
        self.life.is_some() || self.uses.is_some()
    }

    fn limit(self, cluster: &mut Cluster, token: String, now: Moment) -> Result<(), ApiError> {
        if !make_room(&mut cluster.grants, now) {
            return Err(ApiError::TooManyTokens { count: cluster.grants.len() });
        }
        let expires_at = self.life.map(|life| now + life);
        cluster.grants.push(Grant { expires_at, uses: self.uses, ..grant(token, self.role) });
        Ok(())
    }
}

/// The token with that secret, if there is one that was not replaced.
#[must_use]
pub fn with_secret(cluster: &Cluster, secret: TokenSecret) -> Option<String> {
    let granted = cluster.grants.iter().filter(|grant| !grant.is_rotated).map(|grant| &grant.token);
    let mut all = granted.chain([&cluster.worker_token, &cluster.manager_token]);
    let is_it =
        |text: &&String| text.parse::<JoinToken>().is_ok_and(|token| token.secret.to_bytes() == secret.to_bytes());
    all.find(is_it).cloned()
}

fn standing(cluster: &mut Cluster, role: NodeRole) -> &mut String {
    match role {
        NodeRole::Worker => &mut cluster.worker_token,
        NodeRole::Manager => &mut cluster.manager_token,
    }
}

fn grant(token: String, role: NodeRole) -> Grant {
    Grant { token, role, expires_at: None, uses: None, used: 0, is_rotated: false }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::grant::GRANTS_MAX;
    use skep_proto::model::{ClusterId, ClusterSpec, Era, GrantError, Meta, RootDigest};

    use super::*;

    const NOW: Moment = Moment(1_000_000);

    fn token(secret: u128) -> String {
        JoinToken { digest: RootDigest::of_der(b"root"), secret: TokenSecret::new(secret) }.to_string()
    }

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId::new(1),
            meta: Meta::default(),
            spec: ClusterSpec::default(),
            root_certificate: String::new(),
            root_key: String::new(),
            worker_token: token(1),
            manager_token: token(2),
            grants: Vec::new(),
            rotation: None,
            lock: skep_proto::model::Autolock::default(),
            era: Era::default(),
            former_managers: Vec::new(),
        }
    }

    fn order(lives_ms: u64, uses: u32) -> Result<Order, ApiError> {
        Order::new(&pb::TokenRequest { role: pb::NodeRole::Worker.into(), lives_ms, uses })
    }

    fn state(cluster: &Cluster, secret: u128) -> Result<(), GrantError> {
        cluster.grants.iter().find(|grant| grant.token == token(secret)).map_or(Ok(()), |grant| grant.check(NOW))
    }

    #[test]
    fn a_rotation_ends_every_token_of_the_role_and_no_other() {
        let mut cluster = cluster();
        let manager = Order { role: NodeRole::Manager, life: None, uses: Some(1) };
        manager.create(&mut cluster, TokenSecret::new(11), NOW).unwrap();
        order(0, 3).unwrap().create(&mut cluster, TokenSecret::new(12), NOW).unwrap();
        order(0, 0).unwrap().rotate(&mut cluster, TokenSecret::new(13), NOW).unwrap();
        assert_eq!(cluster.worker_token, token(13));
        assert_eq!(with_secret(&cluster, TokenSecret::new(13)), Some(token(13)));
        assert_eq!(with_secret(&cluster, TokenSecret::new(12)), None);
        let rotated = Err(GrantError::Rotated(NodeRole::Worker));
        assert_eq!((state(&cluster, 1), state(&cluster, 12)), (rotated, rotated));
        assert_eq!((state(&cluster, 13), state(&cluster, 11), state(&cluster, 2)), (Ok(()), Ok(()), Ok(())));
    }

    #[test]
    fn the_standing_token_may_have_limits_too() {
        let mut cluster = cluster();
        order(1_000, 2).unwrap().rotate(&mut cluster, TokenSecret::new(13), NOW).unwrap();
        let grant = cluster.grants.iter().find(|grant| grant.token == cluster.worker_token).unwrap();
        assert_eq!((grant.expires_at, grant.uses), (Some(Moment(1_001_000)), Some(2)));
        order(0, 0).unwrap().rotate(&mut cluster, TokenSecret::new(14), NOW).unwrap();
        assert_eq!(cluster.grants.len(), 2, "the old ones are known as rotated, the new one has no limit");
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert!(matches!(order(u64::MAX, 0), Err(ApiError::TokenLife)));
        assert!(matches!(order(0, USES_MAX + 1), Err(ApiError::TokenUses { .. })));
        assert!(Order::new(&pb::TokenRequest::default()).is_err(), "it has no role");
        let mut cluster = cluster();
        let unlimited = order(0, 0).unwrap().create(&mut cluster, TokenSecret::new(3), NOW);
        assert!(matches!(unlimited, Err(ApiError::TokenUnlimited)));
        for secret in 0..GRANTS_MAX {
            let secret = TokenSecret::new(100 + u128::try_from(secret).unwrap());
            order(0, 1).unwrap().create(&mut cluster, secret, NOW).unwrap();
        }
        let full = order(0, 1).unwrap().create(&mut cluster, TokenSecret::new(3), NOW);
        assert!(matches!(full, Err(ApiError::TooManyTokens { .. })));
        order(0, 1).unwrap().rotate(&mut cluster, TokenSecret::new(3), NOW).unwrap();
    }
}
