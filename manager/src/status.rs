//! Which gRPC code each error gets: the one table, beside the components because it knows the errors of all. The message is the error's whole chain, so that a user reads what failed and
//! why in one line.

use std::error::Error;

use skep_proto::chain::chain;
use tonic::{Code, Status};

use crate::api::ApiError;
use crate::api::lookup::LookupError;
use crate::ca::CaError;
use crate::caller::CallerError;
use crate::dispatcher::DispatchError;
use crate::forward::ForwardError;
use crate::logs::LogError;
use crate::membership::MembershipError;
use crate::store::{ProposeError, Refusal};

fn status(code: Code, error: &(dyn Error + 'static)) -> Status {
    Status::new(code, format!("failed to {}", chain(error)))
}

fn of_caller(error: &CallerError) -> Code {
    match error {
        CallerError::Anonymous => Code::Unauthenticated,
        CallerError::NoState => Code::Unavailable,
        CallerError::NotANode
        | CallerError::OtherCluster { .. }
        | CallerError::Removed { .. }
        | CallerError::Lapsed { .. }
        | CallerError::OtherKey { .. }
        | CallerError::NotAManager { .. } => Code::PermissionDenied,
    }
}

fn of_refusal(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Stale { .. } => Code::Aborted,
        Refusal::NoNode(_) | Refusal::NoService(_) | Refusal::NoTask(_) => Code::NotFound,
        Refusal::Exists(_) | Refusal::NameTaken { .. } | Refusal::PortTaken { .. } => Code::AlreadyExists,
        Refusal::Token(_) | Refusal::NoToken => Code::PermissionDenied,
        Refusal::Immutable { .. } => Code::InvalidArgument,
        _ => Code::FailedPrecondition,
    }
}

fn of_propose(error: &ProposeError) -> Code {
    match error {
        ProposeError::Refused(refusal) => of_refusal(refusal),
        ProposeError::NotLeader | ProposeError::ReadOnly(_) => Code::Unavailable,
        ProposeError::Busy => Code::ResourceExhausted,
        ProposeError::TooLarge { .. } => Code::InvalidArgument,
    }
}

impl From<CaError> for Status {
    fn from(error: CaError) -> Self {
        let code = match &error {
            CaError::NoCluster => Code::Unavailable,
            CaError::Token(_) | CaError::Request(_) | CaError::RequestLength { .. } | CaError::Convert(_) => {
                Code::InvalidArgument
            }
            CaError::Attempt => Code::InvalidArgument,
            CaError::NotLetIn => Code::NotFound,
            CaError::Came { .. } => Code::AlreadyExists,
            CaError::OtherSwarm | CaError::WrongSecret | CaError::Grant(_) => Code::PermissionDenied,
            CaError::NewRoot(_) | CaError::NotARoot(_) | CaError::HalfARoot => Code::InvalidArgument,
            CaError::NotAbandoned { .. } | CaError::NoRotation => Code::FailedPrecondition,
            CaError::Root(_) | CaError::Sign { .. } | CaError::Key(_) => Code::Internal,
            CaError::Caller(error) => of_caller(error),
            CaError::Write(error) => of_propose(error),
        };
        status(code, &error)
    }
}

impl From<DispatchError> for Status {
    fn from(error: DispatchError) -> Self {
        let code = match &error {
            DispatchError::Caller(error) => of_caller(error),
            DispatchError::Hello | DispatchError::Message(_) => Code::InvalidArgument,
            DispatchError::ForeignTask { .. } => Code::PermissionDenied,
            DispatchError::Silent => Code::DeadlineExceeded,
            DispatchError::Broken => Code::Cancelled,
        };
        status(code, &error)
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let code = match &error {
            ApiError::Caller(error) => of_caller(error),
            ApiError::Convert(_) | ApiError::Invalid(_) | ApiError::NoVersion { .. } | ApiError::Rename { .. } => {
                Code::InvalidArgument
            }
            ApiError::Lookup(LookupError::None { .. }) => Code::NotFound,
            ApiError::Lookup(LookupError::Ambiguous { .. } | LookupError::Empty { .. }) => Code::InvalidArgument,
            ApiError::NoCluster => Code::Unavailable,
            ApiError::Token(_) => Code::Internal,
            ApiError::TokenLife | ApiError::TokenUses { .. } | ApiError::TokenUnlimited => Code::InvalidArgument,
            ApiError::TokenGone => Code::Aborted,
            ApiError::TooManyTokens { .. } | ApiError::Backups => Code::ResourceExhausted,
            ApiError::KeyId(_) | ApiError::RaftTiming => Code::InvalidArgument,
            ApiError::NoUnlockKey { .. } => Code::NotFound,
            ApiError::NotDown { .. }
            | ApiError::AutolockOff { .. }
            | ApiError::SingleWriters { .. }
            | ApiError::LiveSingleWriters { .. }
            | ApiError::RemoveManager { .. }
            | ApiError::Demote { .. } => Code::FailedPrecondition,
            ApiError::Write(error) => of_propose(error),
        };
        status(code, &error)
    }
}

impl From<LogError> for Status {
    fn from(error: LogError) -> Self {
        let code = match &error {
            LogError::Caller(error) => of_caller(error),
            LogError::Message(_) | LogError::NoSubscription => Code::InvalidArgument,
            LogError::UnknownSubscription => Code::NotFound,
            LogError::ForeignTask { .. } => Code::PermissionDenied,
            LogError::Full { .. } => Code::ResourceExhausted,
        };
        status(code, &error)
    }
}

impl From<ForwardError> for Status {
    fn from(error: ForwardError) -> Self {
        let code = match &error {
            ForwardError::NoLeader(_)
            | ForwardError::Unreachable { .. }
            | ForwardError::Unsettled { .. }
            | ForwardError::MaybeDone { .. }
            | ForwardError::Lost { .. }
            | ForwardError::LeaderChanged
            | ForwardError::NotLeading { .. }
            | ForwardError::Stopping => Code::Unavailable,
            ForwardError::Full { .. } => Code::ResourceExhausted,
            ForwardError::Unsure(error) => of_propose(error),
            ForwardError::Caller(error) => of_caller(error),
            ForwardError::Envelope { .. } => Code::PermissionDenied,
        };
        status(code, &error)
    }
}

impl From<MembershipError> for Status {
    fn from(error: MembershipError) -> Self {
        let code = match &error {
            MembershipError::Caller(error) => of_caller(error),
            MembershipError::NoRaftId | MembershipError::Address { .. } => Code::InvalidArgument,
            MembershipError::Unreachable { .. }
            | MembershipError::Dialect(_)
            | MembershipError::Another { .. }
            | MembershipError::Silent { .. }
            | MembershipError::NotWanted { .. }
            | MembershipError::Quorum(_) => Code::FailedPrecondition,
            MembershipError::Slow { .. } => Code::DeadlineExceeded,
            MembershipError::NotLeader => Code::Unavailable,
            MembershipError::Write(error) => of_propose(error),
        };
        status(code, &error)
    }
}
