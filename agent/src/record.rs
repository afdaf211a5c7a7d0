//! The task list as bytes: a mark, a checksum, and protobuf, so that a later version may add fields and still read this one.

use std::sync::Arc;

use prost::Message;
use skep_proto::convert::{ConvertError, required};
use skep_proto::pb;

use crate::worker::{Record, TaskList};

/// What the file begins with; the number is the format's version.
const MARK: &[u8; 8] = b"SKEPTL1\n";

/// Bytes before the protobuf: the mark and the checksum.
const HEAD_LEN: usize = MARK.len() + 4;

/// Why bytes are no task list.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It begins otherwise.
    #[error("it is no task list that this version knows")]
    Mark,
    /// Its checksum differs.
    #[error("its checksum is wrong")]
    Checksum,
    /// It is no protobuf of ours, in spite of the checksum.
    #[error("it cannot be decoded")]
    Protobuf(#[from] prost::DecodeError),
    /// It holds a value that no version wrote.
    #[error("it holds a wrong value")]
    Value(#[from] ConvertError),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListMessage {
    #[prost(message, repeated, tag = "1")]
    templates: Vec<pb::TaskTemplate>,
    #[prost(message, repeated, tag = "2")]
    tasks: Vec<RecordMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordMessage {
    #[prost(message, optional, tag = "1")]
    assignment: Option<pb::Assignment>,
    #[prost(message, optional, tag = "2")]
    status: Option<pb::TaskStatus>,
}

/// The list as bytes.
#[must_use]
pub fn encode(list: &TaskList) -> Vec<u8> {
    let message = ListMessage {
        templates: list.templates.iter().map(|template| (&**template).into()).collect(),
        tasks: list.records.iter().map(Into::into).collect(),
    };
    let body = message.encode_to_vec();
    [MARK.as_slice(), &crc32fast::hash(&body).to_be_bytes(), &body].concat()
}

/// The list that the bytes hold.
///
/// # Errors
/// When they were not written by [`encode`], or were damaged since.
pub fn decode(bytes: &[u8]) -> Result<TaskList, DecodeError> {
    let body = bytes.strip_prefix(MARK.as_slice()).ok_or(DecodeError::Mark)?;
    let (sum, body) = body.split_first_chunk::<4>().ok_or(DecodeError::Checksum)?;
    debug_assert_eq!(bytes.len(), HEAD_LEN + body.len(), "the head is the mark and the checksum");
    if crc32fast::hash(body).to_be_bytes() != *sum {
        return Err(DecodeError::Checksum);
    }
    Ok(ListMessage::decode(body)?.try_into()?)
}

impl TryFrom<ListMessage> for TaskList {
    type Error = ConvertError;

    fn try_from(message: ListMessage) -> Result<Self, ConvertError> {
        // A spec that a stricter version cannot read must not keep it from starting: what runs of it goes on without.
        let templates = message.templates.into_iter().filter_map(|template| template.try_into().ok()).map(Arc::new);
        let records = message.tasks.into_iter().map(TryInto::try_into);
        Ok(Self { templates: templates.collect(), records: records.collect::<Result<_, ConvertError>>()? })
    }
}

impl From<&Record> for RecordMessage {
    fn from(record: &Record) -> Self {
        Self { assignment: Some((&record.assignment).into()), status: Some((&record.status).into()) }
    }
}

impl TryFrom<RecordMessage> for Record {
    type Error = ConvertError;

    fn try_from(message: RecordMessage) -> Result<Self, ConvertError> {
        Ok(Self {
            assignment: required(message.assignment, "task record", "assignment")?.try_into()?,
            status: required(message.status, "task record", "status")?.try_into()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use skep_proto::model::{ContainerSpec, DesiredState, Moment, ServiceId, TaskId, TaskSpec, TaskState, TaskStatus};

    use super::*;
    use crate::assignment::TaskAssignment;
    use crate::order::Template;

    fn list() -> TaskList {
        let container = ContainerSpec { image: "skep/hello".into(), ..ContainerSpec::default() };
        let template = Template {
            service: ServiceId::new(1),
            spec_version: 2,
            service_name: "web".into(),
            service_labels: [("a".to_owned(), "b".to_owned())].into(),
            spec: TaskSpec { container, ..TaskSpec::default() },
            ports: Vec::new(),
        };
        let assignment = TaskAssignment {
            task: TaskId::new(3),
            template: template.key(),
            slot: 4,
            desired: DesiredState::Running,
            generation: 5,
        };
        let status = TaskStatus { exit_code: Some(7), ..TaskStatus::new(TaskState::Failed, Moment(6), "started") };
        TaskList { templates: vec![Arc::new(template)], records: vec![Record { assignment, status }] }
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(decode(&encode(&list())).unwrap(), list());
        assert_eq!(decode(&encode(&TaskList::default())).unwrap(), TaskList::default());
    }

    #[test]
    fn a_spec_that_cannot_be_read_leaves_its_tasks() {
        let mut list = list();
        Arc::make_mut(&mut list.templates[0]).spec = TaskSpec::default();
        let read = decode(&encode(&list)).unwrap();
        assert_eq!((read.templates.len(), read.records), (0, list.records));
    }

    #[test]
    fn every_single_damaged_byte_is_noticed() {
        let good = encode(&list());
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            assert!(decode(&bad).is_err(), "byte {place}");
            assert!(decode(&good[..place]).is_err(), "cut at {place}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let sealed = [MARK.as_slice(), &crc32fast::hash(&bytes).to_be_bytes(), &bytes].concat();
            let _ = decode(&sealed);
        }
    }
}
