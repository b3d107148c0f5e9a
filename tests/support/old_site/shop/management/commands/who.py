from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Print the user name that belongs to the first part of an address."

    def add_arguments(self, parser):
        parser.add_argument("who")

    def handle(self, who, **options):
        self.stdout.write(get_user_model().objects.get(email__startswith=f"{who}@").username)
