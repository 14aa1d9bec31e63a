"""A folder for a step's module search path: ``azureml``, as far as scripts of SDK v1 need it.

Whoever has this folder on ``sys.path`` imports ``azureml.core`` from it. What scripts use at run time is
this package's own runtime under the names of v1. What authors pipelines can be imported and no more: using it
is an error that names what to write in the DAG. Every other name is an ImportError that says so.

The modules import each other relatively, because they are called ``azureml`` when they are used.
"""
