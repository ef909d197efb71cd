from orchestrator.data.comparing import ComparedRuns as ComparedRuns
from orchestrator.data.comparing import compare as compare
from orchestrator.data.histogram import Histogram as Histogram
from orchestrator.data.run import Run as Run
from orchestrator.data.run import open_run as open_run
from orchestrator.errors import StoredRunError as StoredRunError
from orchestrator.errors import UsageError as UsageError
from orchestrator.errors import VolleyError as VolleyError

__version__: str
