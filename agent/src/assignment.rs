//! What a manager orders, read from the wire. One bad spec must not keep the others from running, so a template that cannot be
//! read becomes the reason why its tasks are refused.

use skep_proto::convert::{ConvertError, required};
use skep_proto::model::{DesiredState, ParseIdError, ServiceId, TaskId};
use skep_proto::pb;

use crate::order::{Template, TemplateKey};

/// One message of orders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Orders {
    /// Part of a complete set.
    pub complete: bool,
    /// The last part of it.
    pub complete_end: bool,
    /// Specs that were not sent before in this session; the reason instead of one that cannot be read.
    pub templates: Vec<(TemplateKey, Result<Template, ConvertError>)>,
    /// Tasks that are new or whose order changed.
    pub tasks: Vec<TaskAssignment>,
    /// Tasks to stop and forget.
    pub removed: Vec<TaskId>,
    /// Ended tasks whose logs may still be asked for; only in a complete set.
    pub kept: Vec<TaskId>,
}

/// What is wanted of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskAssignment {
    /// The task.
    pub task: TaskId,
    /// What it runs.
    pub template: TemplateKey,
    /// Place in its service; zero in a global one.
    pub slot: u32,
    /// What is wanted.
    pub desired: DesiredState,
    /// Grows with every order; an older one is ignored.
    pub generation: u64,
}

impl TryFrom<pb::Assignments> for Orders {
    type Error = ConvertError;

    fn try_from(message: pb::Assignments) -> Result<Self, ConvertError> {
        Ok(Self {
            complete: message.complete,
            complete_end: message.complete_end,
            templates: message.templates.into_iter().map(keyed).collect::<Result<_, _>>()?,
            tasks: message.tasks.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            removed: ids(&message.removed)?,
            kept: ids(&message.kept)?,
        })
    }
}

fn ids(bytes: &[Vec<u8>]) -> Result<Vec<TaskId>, ParseIdError> {
    bytes.iter().map(|id| TaskId::from_bytes(id)).collect()
}

type Keyed = (TemplateKey, Result<Template, ConvertError>);

fn keyed(message: pb::TaskTemplate) -> Result<Keyed, ConvertError> {
    let key = (ServiceId::from_bytes(&message.service_id)?, message.spec_version);
    Ok((key, message.try_into()))
}

impl TryFrom<pb::TaskTemplate> for Template {
    type Error = ConvertError;

    fn try_from(message: pb::TaskTemplate) -> Result<Self, ConvertError> {
        Ok(Self {
            service: ServiceId::from_bytes(&message.service_id)?,
            spec_version: message.spec_version,
            service_name: message.service_name,
            service_labels: message.service_labels,
            spec: required(message.spec, "task template", "spec")?.try_into()?,
            ports: message.ports.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Template> for pb::TaskTemplate {
    fn from(template: &Template) -> Self {
        Self {
            service_id: template.service.to_bytes(),
            spec_version: template.spec_version,
            service_name: template.service_name.clone(),
            service_labels: template.service_labels.clone(),
            spec: Some((&template.spec).into()),
            ports: template.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<pb::Assignment> for TaskAssignment {
    type Error = ConvertError;

    fn try_from(message: pb::Assignment) -> Result<Self, ConvertError> {
        Ok(Self {
            desired: message.desired().try_into()?,
            task: TaskId::from_bytes(&message.task)?,
            template: (ServiceId::from_bytes(&message.service_id)?, message.spec_version),
            slot: message.slot,
            generation: message.generation,
        })
    }
}

impl From<&TaskAssignment> for pb::Assignment {
    fn from(assignment: &TaskAssignment) -> Self {
        Self {
            task: assignment.task.to_bytes(),
            service_id: assignment.template.0.to_bytes(),
            spec_version: assignment.template.1,
            slot: assignment.slot,
            desired: pb::DesiredState::from(assignment.desired).into(),
            generation: assignment.generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::model::{ContainerSpec, TaskSpec};

    use super::*;

    fn template() -> Template {
        let container = ContainerSpec { image: "skep/hello".into(), ..ContainerSpec::default() };
        Template {
            service: ServiceId::new(1),
            spec_version: 2,
            service_name: "web".into(),
            service_labels: [("a".to_owned(), "b".to_owned())].into(),
            spec: TaskSpec { container, ..TaskSpec::default() },
            ports: Vec::new(),
        }
    }

    fn assignment() -> TaskAssignment {
        let (task, template) = (TaskId::new(3), (ServiceId::new(1), 2));
        TaskAssignment { task, template, slot: 4, desired: DesiredState::Running, generation: 5 }
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(Template::try_from(pb::TaskTemplate::from(&template())), Ok(template()));
        assert_eq!(TaskAssignment::try_from(pb::Assignment::from(&assignment())), Ok(assignment()));
    }

    #[test]
    fn a_template_that_cannot_be_read_leaves_the_others() {
        let bad = pb::TaskTemplate { spec: None, spec_version: 9, ..(&template()).into() };
        let message = pb::Assignments { templates: vec![bad, (&template()).into()], ..pb::Assignments::default() };
        let orders = Orders::try_from(message).unwrap();
        assert!(orders.templates[0].1.is_err());
        assert_eq!(orders.templates[1], (template().key(), Ok(template())));
    }

    #[test]
    fn an_order_without_an_id_is_refused_whole() {
        let bad = pb::Assignment { task: Vec::new(), ..(&assignment()).into() };
        assert!(Orders::try_from(pb::Assignments { tasks: vec![bad], ..pb::Assignments::default() }).is_err());
    }
}
