"""The site's only page."""

import page
from django.http import HttpRequest, HttpResponse
from django.urls import path


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse(page.text())


urlpatterns = [path("", answer)]
