"""The public names, each once, and where each lives: `__init__.py` imports it when it is used.

Type checkers read this file as it stands. `as` and the name again says that it is exported.
"""

from ffmerge_core.analysis.alignment import Match as Match
from ffmerge_core.analysis.calibration import calibrate as calibrate
from ffmerge_core.analysis.clustering import Clustering as Clustering
from ffmerge_core.analysis.clustering import cluster as cluster
from ffmerge_core.analysis.features import Features as Features
from ffmerge_core.analysis.features import SublayerFeatures as SublayerFeatures
from ffmerge_core.analysis.features import similarity_matrix as similarity_matrix
from ffmerge_core.analysis.prediction import RankCorrelation as RankCorrelation
from ffmerge_core.analysis.prediction import does_similarity_predict as does_similarity_predict
from ffmerge_core.compression.budget import baselines as baselines
from ffmerge_core.compression.cost import Latency as Latency
from ffmerge_core.compression.merge_methods import Group as Group
from ffmerge_core.compression.merging import AlignedPair as AlignedPair
from ffmerge_core.compression.merging import apply as apply
from ffmerge_core.compression.quantization import quantize as quantize
from ffmerge_core.compression.recovery import recover as recover
from ffmerge_core.compression.result import RunResult as RunResult
from ffmerge_core.compression.running import evaluate as evaluate
from ffmerge_core.compression.running import run as run
from ffmerge_core.compression.search import search_windows as search_windows
from ffmerge_core.errors import Cancelled as Cancelled
from ffmerge_core.errors import DataError as DataError
from ffmerge_core.errors import FFMergeError as FFMergeError
from ffmerge_core.errors import Interrupted as Interrupted
from ffmerge_core.errors import MissingPackageError as MissingPackageError
from ffmerge_core.errors import PlanError as PlanError
from ffmerge_core.errors import ProofError as ProofError
from ffmerge_core.errors import SourceError as SourceError
from ffmerge_core.errors import StorageError as StorageError
from ffmerge_core.errors import UnsupportedModelError as UnsupportedModelError
from ffmerge_core.kinds import Kind as Kind
from ffmerge_core.models.families import Family as Family
from ffmerge_core.models.families import declare as declare
from ffmerge_core.models.families import declare_stack as declare_stack
from ffmerge_core.models.families import pair_example as pair_example
from ffmerge_core.models.families import register_family as register_family
from ffmerge_core.models.families import token_example as token_example
from ffmerge_core.models.loaded import LoadedModel as LoadedModel
from ffmerge_core.models.sublayers import FFSublayer as FFSublayer
from ffmerge_core.models.sublayers import Slot as Slot
from ffmerge_core.plan import Curve as Curve
from ffmerge_core.plan import CurvePoint as CurvePoint
from ffmerge_core.plan import DropFF as DropFF
from ffmerge_core.plan import DropLayers as DropLayers
from ffmerge_core.plan import Factor as Factor
from ffmerge_core.plan import Mark as Mark
from ffmerge_core.plan import Merge as Merge
from ffmerge_core.plan import MergePlan as MergePlan
from ffmerge_core.plan import Method as Method
from ffmerge_core.plan import Narrow as Narrow
from ffmerge_core.plan import Plan as Plan
from ffmerge_core.plan import Recipe as Recipe
from ffmerge_core.plan import Recovery as Recovery
from ffmerge_core.plan import Reduce as Reduce
from ffmerge_core.plan import Reduction as Reduction
from ffmerge_core.plan import Sized as Sized
from ffmerge_core.plan import Windowed as Windowed
from ffmerge_core.plan import register_method as register_method
from ffmerge_core.progress import Report as Report
from ffmerge_core.sources.loading import load as load
from ffmerge_core.storage.checkpoint import Saved as Saved
from ffmerge_core.storage.checkpoint import save as save
from ffmerge_core.tasks.batch import Batch as Batch
from ffmerge_core.tasks.evaluation import Evaluation as Evaluation
from ffmerge_core.tasks.evaluation import PairedDifference as PairedDifference
from ffmerge_core.tasks.fidelity import Fidelity as Fidelity
from ffmerge_core.tasks.image_classification import ImageClassification as ImageClassification
from ffmerge_core.tasks.images import LabelledImages as LabelledImages
from ffmerge_core.tasks.kinds import TaskKind as TaskKind
from ffmerge_core.tasks.kinds import register_task as register_task
from ffmerge_core.tasks.language_modeling import LanguageModeling as LanguageModeling
from ffmerge_core.tasks.masked_language_modeling import (
    MaskedLanguageModeling as MaskedLanguageModeling,
)
from ffmerge_core.tasks.measures import Figure as Figure
from ffmerge_core.tasks.measures import Interval as Interval
from ffmerge_core.tasks.measures import Measure as Measure
from ffmerge_core.tasks.metrics import Metric as Metric
from ffmerge_core.tasks.metrics import register_metric as register_metric
from ffmerge_core.tasks.task import Task as Task
from ffmerge_core.tasks.text_classification import TextClassification as TextClassification
from ffmerge_core.tasks.translation import Translation as Translation

__version__: str
