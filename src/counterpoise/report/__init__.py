"""Pages: the report of a comparison or a run, and the kit that every page is made of."""

from counterpoise.report.candidates import candidates_table
from counterpoise.report.comparison import Comparison, read_comparison, read_runs
from counterpoise.report.comparison_page import build_report
from counterpoise.report.figures import PALETTE as PALETTE
from counterpoise.report.kit.html import Cell, Line, Table, plotly_label, write_page
from counterpoise.report.kit.pictures import Panel as Panel
from counterpoise.report.kit.pictures import difference_figure as difference_figure
from counterpoise.report.kit.pictures import explanation_figure as explanation_figure
from counterpoise.report.kit.pictures import feature_map_figure as feature_map_figure
from counterpoise.report.kit.pictures import legend_colors as legend_colors
from counterpoise.report.kit.pictures import new_figure as new_figure
from counterpoise.report.kit.pictures import overlay as overlay
from counterpoise.report.kit.pictures import picture as picture
from counterpoise.report.kit.pictures import plain_frame as plain_frame
from counterpoise.report.kit.pictures import save_figure as save_figure
from counterpoise.report.kit.wording import NONE as NONE
from counterpoise.report.kit.wording import claim_text as claim_text
from counterpoise.report.kit.wording import count as count
from counterpoise.report.kit.wording import decimals as decimals
from counterpoise.report.kit.wording import describe_imbalance as describe_imbalance
from counterpoise.report.kit.wording import duration as duration
from counterpoise.report.kit.wording import mean_text as mean_text
from counterpoise.report.kit.wording import p_equals as p_equals
from counterpoise.report.kit.wording import p_text as p_text
from counterpoise.report.kit.wording import percent as percent
from counterpoise.report.kit.wording import points as points
from counterpoise.report.kit.wording import signed as signed
